"""Nodes around real servers that keep state, for tests of what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from fastmcp import Context as FastMCPContext
from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from mooring import session_state, transactional
from mooring.asgi import App
from mooring.node.fastmcp_state import keep_state_of
from mooring.node.membership.session import LocalSession
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import FlakyStore
from tests.node.rpc import RawClient, Reply
from tests.servers.state_tools import TOOLS, add
from tests.waiting import until

_IDS = itertools.count(2)
VERSION = {"mcp-protocol-version": "2025-11-25"}


def request(tool: str, **arguments: Any) -> dict[str, Any]:
    """A call, to be sent once or more often: it has an id of its own."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": next(_IDS), "method": "tools/call", "params": params}


def said(reply: Reply) -> str:
    """What the tool answered."""
    return str(reply.json["result"]["content"][0]["text"])


GATES: dict[str, asyncio.Event] = {}
"""What calls of `hold` wait for, by what they enter."""


@transactional
async def hold(entry: str) -> str:
    """Changes nothing else, and nothing more once it may go on. Where it is carried out again it does not wait."""
    count = await add(entry)
    if entry not in GATES:
        await GATES.setdefault(entry, asyncio.Event()).wait()
    return count


class Name(BaseModel):
    name: str


async def ask(ctx: Context[Any]) -> str:
    """Changes something before and after it has asked the user."""
    session_state()["asks"] = True
    said = await ctx.elicit("Who are you?", Name)
    session_state()["name"] = said.data.name if said.action == "accept" else said.action
    return str(session_state()["name"])


def sdk_app(**options: Any) -> App:
    server = MCPServer("state")
    for tool in (*TOOLS, hold, ask):
        server.add_tool(tool)
    return server.streamable_http_app(**options)


def fastmcp_app(**options: Any) -> App:
    server: FastMCP[Any] = FastMCP("state")
    for tool in (*TOOLS, hold):
        server.tool(tool)

    @server.tool
    async def count(ctx: FastMCPContext) -> str:
        value = (await ctx.get_state("count") or 0) + 1
        await ctx.set_state("count", value)
        return str(value)

    @server.tool
    async def recall(ctx: FastMCPContext) -> str:
        return json.dumps(await ctx.get_state("count"))

    keep_state_of(server)
    return server.http_app(path="/mcp", **options)


@dataclass
class StateNodes:
    running: list[RunningNode]
    store: FlakyStore
    raw: RawClient

    async def open(self, at: int = 0) -> str:
        return await self.raw.open(self.running[at].url)

    async def send(self, session: str, tool: str, at: int = 0, **arguments: Any) -> Reply:
        return await self.post(session, request(tool, **arguments), at)

    async def post(self, session: str, body: Any, at: int = 0) -> Reply:
        return await self.raw.call(self.running[at].url, session, body=body, headers=VERSION)

    async def post_to_nobody(self, session: str, body: Any, at: int = 0, seconds: float = 0.3) -> None:
        """Send it, and leave before it is answered."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.post(session, body, at)

    async def kill(self, at: int = 0) -> None:
        await self.running[at].vanish()
        await self.store.inner.bury(self.running[at].id)

    def local(self, session: str, at: int = 0) -> LocalSession:
        found = self.running[at].mooring._node.sessions.find(session)
        assert found is not None
        return found

    async def begin(self, session: str, body: Any, at: int = 0) -> asyncio.Task[Reply]:
        """Send a call of `hold`, and wait until it waits."""
        sending = asyncio.create_task(self.post(session, body, at))

        async def waits() -> bool:
            return body["params"]["arguments"]["entry"] in GATES

        await until(waits, what="the call to wait")
        return sending

    def has_called(self, name: str, times: int = 1) -> Callable[[], Awaitable[bool]]:
        """Whether the store was asked this so often."""

        async def was() -> bool:
            return self.store.calls.count(name) >= times

        return was

    async def call(self, session: str, tool: str, at: int = 0, **arguments: Any) -> str:
        """What the tool answers; what it says of an error begins with `error:`."""
        reply = await self.send(session, tool, at, **arguments)
        assert reply.status == 200, reply.body
        result = reply.json["result"]
        text = str(result["content"][0]["text"])
        return f"error: {text}" if result.get("isError") else text

    async def look(self, session: str, at: int = 0) -> Any:
        return json.loads(await self.call(session, "look", at))

    @property
    def commits(self) -> int:
        return self.store.calls.count("commit")


@contextlib.asynccontextmanager
async def state_nodes(
    raw: RawClient, count: int = 1, make_app: Callable[[], App] = sdk_app, **settings: Any
) -> AsyncIterator[StateNodes]:
    store = FlakyStore(MemoryStore())
    GATES.clear()
    async with running_nodes(make_app, count, store, **settings) as running:
        try:
            yield StateNodes(running, store, raw)
        finally:
            for gate in GATES.values():
                gate.set()


apps = pytest.mark.parametrize(
    "make_app",
    [
        sdk_app,
        partial(sdk_app, json_response=True),
        fastmcp_app,
        partial(fastmcp_app, json_response=True),
    ],
    ids=["sdk", "sdk json", "fastmcp", "fastmcp json"],
)
"""Of each SDK, with answers in streams and in JSON."""
