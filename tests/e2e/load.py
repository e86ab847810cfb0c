"""Many sessions at once, each counting in its own process memory: a call that went astray cannot count right."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiohttp

from tests.node.rpc import RawClient

INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
VERSION = {"mcp-protocol-version": "2025-11-25"}


@dataclass
class Result:
    """What became of the calls."""

    sessions: list[str] = field(default_factory=list)
    calls: int = 0
    failures: list[str] = field(default_factory=list)


async def open_session(raw: RawClient, base: str) -> str:
    session = await raw.open(base)
    reply = await raw.call(base, session, body=INITIALIZED, headers=VERSION)
    assert reply.status == 202, reply
    return session


async def count(raw: RawClient, base: str, session: str, request_id: int = 9) -> int:
    """One more call on the session's own counter; what it stands at."""
    body = {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": "count", "arguments": {}}}
    reply = await raw.call(base, session, body=body, headers=VERSION)
    if reply.status != 200 or "error" in reply.json:
        raise AssertionError(f"{reply.status} {reply.body.decode()}")
    return int(reply.json["result"]["content"][0]["text"])


async def run_sessions(base: str, sessions: int, calls: int, *, at_once: int = 20) -> Result:
    """Open `sessions` and call each `calls` times, `at_once` sessions in parallel, without cookies."""
    result = Result()
    room = asyncio.Semaphore(at_once)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout) as http:
        raw = RawClient(http)

        async def one() -> None:
            async with room:
                session = await open_session(raw, base)
                result.sessions.append(session)
                for expected in range(1, calls + 1):
                    found = await count(raw, base, session, expected)
                    result.calls += 1
                    if found != expected:
                        result.failures.append(f"{session}: counted {found}, expected {expected}")

        for outcome in await asyncio.gather(*(one() for _ in range(sessions)), return_exceptions=True):
            if isinstance(outcome, BaseException):
                result.failures.append(repr(outcome))
    return result
