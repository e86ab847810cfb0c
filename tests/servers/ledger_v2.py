"""A server of SDK v2 that writes down what it carries out, to judge by what became of each call."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

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
async def chat(entry: str, events: int, size: int, ctx: Context[Any]) -> str:
    """Says as much as anybody takes, and writes down how far it got."""
    for event in range(1, events + 1):
        await ctx.report_progress(event, events, "x" * size)
        write(f"said {entry} {event}")
    return entry


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

    While a file with the ledger's name and `.held` is there, `initialize` and DELETE are written down, and held; and so
    is what says that it may be, once it was read, before anything of it is answered.
    """
    if scope["type"] == "http" and (b"x-held", b"yes") in scope["headers"]:
        while (await receive()).get("more_body", False):
            pass
        write(f"held {os.getpid()}")
        await asyncio.sleep(HELD_SECONDS)
    if scope["type"] == "http" and ledger.with_suffix(".held").exists():
        headers = dict(scope["headers"])
        if scope["method"] == "DELETE" or (scope["method"] == "POST" and b"mcp-session-id" not in headers):
            write(f"held {os.getpid()}")
            await asyncio.sleep(HELD_SECONDS)
    if scope["type"] == "http" and scope["method"] == "POST" and answers_in_json:
        await answer(scope, receive, send)
    else:
        await _app(scope, receive, send)


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """By a batch, where a batch is asked, as servers of revision 2025-03-26 did: the SDK takes none any more."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if not body.startswith(b"["):
        await one_of(scope, body, receive, send)
        return
    told = await asyncio.gather(*(told_of(scope, json.dumps(one).encode(), receive) for one in json.loads(body)))
    whole = b"[" + b",".join(told) + b"]"
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(whole))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": whole})


async def told_of(scope: Scope, body: bytes, receive: Receive) -> bytes:
    told = bytearray()

    async def hear(message: Message) -> None:
        told.extend(message.get("body", b""))

    headers = [*((name, value) for name, value in scope["headers"] if name != b"content-length")]
    headers.append((b"content-length", b"%d" % len(body)))
    await one_of({**scope, "headers": headers}, body, receive, hear)
    return bytes(told)


async def one_of(scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    is_read = False

    async def read() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    await _app(scope, read, send)


answers_in_json = "ANSWERS_IN_JSON" in os.environ
_app = server.streamable_http_app(json_response=answers_in_json)
