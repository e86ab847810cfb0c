"""What a plain client sees of a deployment: the statuses of a session's calls, and when a stream's events come."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from tests.e2e.load import VERSION
from tests.node.rpc import HEADERS, RawClient, Reply

MODERN: Final = "2026-07-28"
_CALLS: Final = 6


@contextlib.asynccontextmanager
async def client(*, cookies: bool = False, keep_alive: bool = True) -> AsyncIterator[RawClient]:
    """A client that keeps cookies, or none; with one connection for all, or one for each request."""
    jar = aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar()  # unsafe: from an IP address too
    connector = aiohttp.TCPConnector(force_close=not keep_alive)
    async with aiohttp.ClientSession(cookie_jar=jar, connector=connector) as http:
        yield RawClient(http)


def tool_call(tool: str, **arguments: Any) -> dict[str, Any]:
    """A call that wants to hear of its progress."""
    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "progress"}}
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}


async def call(raw: RawClient, url: str, session: str, tool: str = "count", **arguments: Any) -> Reply:
    return await raw.send("POST", url, session=session, body=tool_call(tool, **arguments), headers=VERSION)


async def calls(raw: RawClient, url: str, session: str) -> list[Reply]:
    """The answers to a session's calls, one after the other."""
    return [await call(raw, url, session) for _ in range(_CALLS)]


async def statuses(raw: RawClient, url: str) -> set[int]:
    """All statuses that the calls of a new session meet."""
    session = await raw.open(url.removesuffix("/mcp"))
    return {reply.status for reply in await calls(raw, url, session)}


async def modern_call(raw: RawClient, url: str, tool: str = "where") -> Reply:
    """A call in the modern era: without a session, named in its headers and again in its body."""
    prefix = "io.modelcontextprotocol"
    meta = {
        f"{prefix}/protocolVersion": MODERN,
        f"{prefix}/clientInfo": {"name": "raw", "version": "1.0"},
        f"{prefix}/clientCapabilities": {},
    }
    params = {"name": tool, "arguments": {}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    headers = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
    return await raw.send("POST", url, body=body, headers=headers)


@dataclass
class Stream:
    """What came of one answer, in seconds since it was asked for."""

    encoding: str | None
    headers_seconds: float
    event_seconds: list[float] = field(default_factory=list)
    end_seconds: float = 0.0
    complete: bool = False
    """It ended with the chunk that says so, and not by a lost connection."""


async def stream(url: str, session: str, body: Any = None) -> Stream:
    """The answer to a POST of this body, or to a GET, watched until it ends."""
    headers = {**HEADERS, **VERSION, "mcp-session-id": session}
    data = json.dumps(body) if body else None
    started = time.monotonic()
    async with (
        aiohttp.ClientSession() as http,
        http.request("POST" if body else "GET", url, data=data, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        seen = Stream(answer.headers.get("content-encoding"), time.monotonic() - started)
        with contextlib.suppress(aiohttp.ClientPayloadError):
            async for chunk in answer.content.iter_any():
                seen.event_seconds += [time.monotonic() - started] * chunk.count(b"data: {")
            seen.complete = True
    seen.end_seconds = time.monotonic() - started
    return seen


async def stays_silent(url: str, session: str, seconds: float) -> bool:
    """Whether a GET in that session gets nothing for so long, not even headers."""
    try:
        async with asyncio.timeout(seconds):
            await _first_line(url, session)
    except TimeoutError:
        return True
    return False


async def _first_line(url: str, session: str) -> None:
    headers = {**HEADERS, **VERSION, "mcp-session-id": session}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers):
        pass
