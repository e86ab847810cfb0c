"""A server of SDK v2 that writes down what it carries out, to judge by what became of each call."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

server = MCPServer("ledger")
ledger = Path(os.environ["LEDGER"])
STEP_SECONDS = 0.1
HELD_SECONDS = 300.0


def write(line: str) -> None:
    with ledger.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


async def carry_out(entry: str, steps: int, ctx: Context[Any]) -> str:
    write(f"begins {entry}")
    for step in range(1, steps + 1):
        await asyncio.sleep(STEP_SECONDS)
        await ctx.report_progress(step, steps, entry)
    write(f"ends {entry}")
    return entry


@server.tool()
async def work(entry: str, steps: int, ctx: Context[Any]) -> str:
    """Changes something: nobody may carry it out twice."""
    return await carry_out(entry, steps, ctx)


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def look(entry: str, steps: int, ctx: Context[Any]) -> str:
    """Changes nothing."""
    return await carry_out(entry, steps, ctx)


@server.tool()
async def sleep(entry: str) -> str:
    """Says nothing, for as long as anybody waits for it."""
    write(f"begins {entry}")
    await asyncio.sleep(HELD_SECONDS)
    return entry


class Answer(BaseModel):
    name: str


@server.tool()
async def ask(entry: str, ctx: Context[Any]) -> str:
    """Asks the user, and answers with what they say."""
    write(f"begins {entry}")
    said = await ctx.elicit(entry, Answer)
    write(f"ends {entry}")
    return said.data.name if said.action == "accept" else said.action


@server.tool()
async def announce(uri: str, ctx: Context[Any]) -> str:
    """Tells the client's standalone stream of a change."""
    entry = uri.removeprefix("test://")
    write(f"begins {entry}")
    await ctx.session.send_resource_updated(uri)
    write(f"ends {entry}")
    return uri


@server.tool()
def where() -> str:
    """Which process answers."""
    return str(os.getpid())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The same, where what opens and ends a session can take its time.

    While a file with the ledger's name and `.held` is there, `initialize` and DELETE are written down, and held.
    """
    if scope["type"] == "http" and ledger.with_suffix(".held").exists():
        headers = dict(scope["headers"])
        if scope["method"] == "DELETE" or (scope["method"] == "POST" and b"mcp-session-id" not in headers):
            write(f"held {os.getpid()}")
            await asyncio.sleep(HELD_SECONDS)
    await _app(scope, receive, send)


_app = server.streamable_http_app(json_response="ANSWERS_IN_JSON" in os.environ)
