"""A server that says as much as it is told to, and a client that reads it an event at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

from mooring.asgi import App
from mooring.core.sse import SseEvent, SseParser
from tests.node.rpc import HEADERS


class Teller:
    """A server whose tool says as much as it is told to, and then answers."""

    def __init__(self) -> None:
        self.steps: asyncio.Queue[int | None] = asyncio.Queue()
        self.server = MCPServer("teller")

        @self.server.tool()
        async def tell(ctx: Context[Any]) -> str:
            told = 0
            while (step := await self.steps.get()) is not None:
                await ctx.report_progress(step, 100, f"step {step}")
                told += 1
            return f"told {told}"

        self.asked = 0

        @self.server.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def ask(ctx: Context[Any]) -> str:
            self.asked += 1
            while (step := await self.steps.get()) is not None:
                await ctx.report_progress(step, 100, f"step {step}")
            return f"asked {self.asked}"

        @self.server.tool()
        async def announce(text: str, ctx: Context[Any]) -> str:
            await ctx.session.send_tool_list_changed()
            return text

    def app(self) -> App:
        app: App = self.server.streamable_http_app()
        return app

    def say(self, *steps: int | None) -> None:
        for step in steps:
            self.steps.put_nowait(step)


class Reader:
    """Reads one event stream, an event at a time."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.ids: list[str] = []
        self._parser = SseParser()
        self._waiting: list[SseEvent] = []

    async def next(self) -> SseEvent | None:
        while not self._waiting:
            piece = await asyncio.wait_for(self.answer.content.readany(), 10)
            if not piece:
                return None
            self._waiting += self._parser.feed(piece)
        event = self._waiting.pop(0)
        if event.id:
            self.ids.append(event.id)
        return event

    async def rest(self) -> list[SseEvent]:
        events = []
        while (event := await self.next()) is not None:
            events.append(event)
        return events


def steps_in(events: list[SseEvent]) -> list[int]:
    messages = [json.loads(event.data) for event in events if event.data]
    return [m["params"]["progress"] for m in messages if m.get("method") == "notifications/progress"]


def answer_in(events: list[SseEvent]) -> Any:
    return next(m for m in (json.loads(event.data) for event in events if event.data) if "id" in m)


@contextlib.asynccontextmanager
async def reading(
    http: aiohttp.ClientSession, method: str, url: str, session: str, body: Any = None, last: str | None = None
) -> AsyncIterator[Reader]:
    headers = {**HEADERS, "mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
    if last is not None:
        headers["last-event-id"] = last
    data = None if body is None else json.dumps(body)
    async with http.request(method, f"{url}/mcp", data=data, headers=headers) as answer:
        yield Reader(answer)


def call(tool: str, request_id: int = 5, **arguments: Any) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}
