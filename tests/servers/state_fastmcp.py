"""A server of FastMCP that keeps what it is told in `session_state()`, and by FastMCP's own means."""

from fastmcp import Context, FastMCP

from tests.servers.state_tools import TOOLS

server = FastMCP("state")
for tool in TOOLS:
    server.tool(tool)


@server.tool
async def count(ctx: Context) -> str:
    """As FastMCP's documentation has it."""
    value = (await ctx.get_state("count") or 0) + 1
    await ctx.set_state("count", value)
    return str(value)
