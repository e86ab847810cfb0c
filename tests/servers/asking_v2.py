"""A server of SDK v2 as its author writes it for one process: it asks the user, and tells of changes."""

from typing import Annotated, Any

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from pydantic import BaseModel


class Answer(BaseModel):
    name: str


async def ask_first() -> Elicit[Answer]:
    return Elicit("Which project?", Answer)


async def ask_second(first: Annotated[Answer, Resolve(ask_first)]) -> Elicit[Answer]:
    return Elicit(f"Delete {first.name}?", Answer)


server = MCPServer("asking")


@server.tool()
async def remove(first: Annotated[Answer, Resolve(ask_first)], second: Annotated[Answer, Resolve(ask_second)]) -> str:
    """Removes a project after asking twice."""
    return f"removed {first.name}: {second.name}"


@server.tool()
async def change(what: str, ctx: Context[Any]) -> None:
    """Tells of a change to the tools, the prompts, or the resource of that URI."""
    if what == "tools":
        await ctx.notify_tools_changed()
    elif what == "prompts":
        await ctx.notify_prompts_changed()
    else:
        await ctx.notify_resource_updated(what)
