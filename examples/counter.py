"""A server that keeps state in its process: a counter for each session. `make up` runs three nodes of it.

With one replica it works. With three, the session that opened a counter has to come back to the process that holds it:
that is what Mooring is for. Nothing here knows about Mooring.
"""

import asyncio
import os
from collections import Counter
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("counter")
counters: Counter[str] = Counter()


def session_of(ctx: Context[Any]) -> str:
    """The session's id. Clients of revision 2026-07-28 have no session, and so no counter of their own."""
    session_id = (ctx.headers or {}).get("mcp-session-id")
    if session_id is None:
        raise ToolError("no session, no counter: connect with an older revision (Python: Client(url, mode='legacy'))")
    return session_id


@server.tool()
def increment(ctx: Context[Any]) -> int:
    """Add one to this session's counter."""
    counters[session_of(ctx)] += 1
    return counters[session_of(ctx)]


@server.tool()
def value(ctx: Context[Any]) -> int:
    """This session's counter."""
    return counters[session_of(ctx)]


@server.tool()
def where() -> str:
    """Which node answers."""
    return f"{os.environ.get('MOORING_NODE_NAME', 'no node')}, process {os.getpid()}"


@server.tool()
async def count_slowly(steps: int, ctx: Context[Any]) -> int:
    """Add one a few times, half a second apart, and report progress."""
    for step in range(1, steps + 1):
        await asyncio.sleep(0.5)
        counters[session_of(ctx)] += 1
        await ctx.report_progress(step, steps, f"{step} of {steps}")
    return counters[session_of(ctx)]
