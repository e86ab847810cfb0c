"""A server that counts: `make up` runs three nodes of it, and `examples/client.py` calls them.

A client of today (revision 2026-07-28) has no session, so each of its calls may reach any node. It gets a handle from
`new_counter` and sends that with each call; what the handle stands for is in Redis, which all nodes have in common.

A client of before has a session, and needs no handle: its counter is in the memory of one process, which its calls have
to come back to each time. This is what Mooring sees to. And when that process dies, the session goes on in another one;
the counter does too, since each step is written down in Redis. Nothing here knows about Mooring.
"""

import asyncio
import os
import secrets
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from redis.asyncio import Redis

DAY_SECONDS = 24 * 60 * 60

server = MCPServer("counter")
sessions: dict[str, int] = {}  # in this process
redis_url = os.environ.get("MOORING_REDIS_URL")  # each node of `make up` is given it
redis = Redis.from_url(redis_url) if redis_url else None


@server.tool()
async def new_counter() -> str:
    """A new counter's handle, for a day."""
    if redis is None:
        raise ToolError("handles are kept in Redis: set MOORING_REDIS_URL")
    handle = secrets.token_urlsafe(16)
    await redis.set(f"counter:{handle}", 0, ex=DAY_SECONDS)
    return handle


@server.tool()
async def increment(ctx: Context[Any], counter: str | None = None) -> int:
    """Add one to a counter, or to this session's own."""
    return await add(1, ctx, counter)


@server.tool()
async def value(ctx: Context[Any], counter: str | None = None) -> int:
    """What a counter has reached, or this session's own."""
    return await add(0, ctx, counter)


@server.tool()
async def count_slowly(steps: int, ctx: Context[Any], counter: str | None = None) -> int:
    """Add one a few times, half a second apart, and report progress."""
    for step in range(1, steps + 1):
        await asyncio.sleep(0.5)
        await add(1, ctx, counter)
        await ctx.report_progress(step, steps, f"{step} of {steps}")
    return await add(0, ctx, counter)


@server.tool()
def where() -> str:
    """Which node answers."""
    return f"{os.environ.get('MOORING_NODE_NAME', 'no node')}, process {os.getpid()}"


async def add(number: int, ctx: Context[Any], handle: str | None) -> int:
    if handle is not None:
        if redis is None or not await redis.exists(f"counter:{handle}"):
            raise ToolError("there is no such counter: new_counter makes one")
        return int(await redis.incrby(f"counter:{handle}", number))
    session_id = (ctx.headers or {}).get("mcp-session-id")
    if session_id is None:
        raise ToolError("which counter? Call new_counter, and send its answer as `counter`")
    if session_id not in sessions:  # it is new, or was in a process that died
        sessions[session_id] = int(await redis.get(f"session:{session_id}") or 0) if redis else 0
    sessions[session_id] += number
    if redis and number:
        await redis.set(f"session:{session_id}", sessions[session_id], ex=DAY_SECONDS)
    return sessions[session_id]
