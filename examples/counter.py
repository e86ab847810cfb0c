"""A server that counts: `make up` runs three nodes of it, and `examples/client.py` calls them.

A client of today (revision 2026-07-28) has no session, so each of its calls may reach any node. It gets a handle from
`new_counter` and sends that with each call, which is so brought to the node that has the counter. A client of before
has a session, and needs no handle. The same tools serve both.

What a call has changed is written down with its answer. So when a node is killed, another one counts on.
"""

import asyncio
import os
from collections.abc import MutableMapping
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

import mooring

server = MCPServer("counter")


@server.tool()
def new_counter() -> str:
    """A new counter. Give what you get here to the other tools, whole and unchanged."""
    counter = mooring.new_handle("counter")
    mooring.state(counter)["count"] = 0
    return counter


@server.tool()
def increment(counter: str | None = None) -> int:
    """Add one to a counter, or to this session's own."""
    return add(1, counter)


@server.tool()
def value(counter: str | None = None) -> int:
    """What a counter has reached, or this session's own."""
    return add(0, counter)


@server.tool()
async def count_slowly(steps: int, ctx: Context[Any], counter: str | None = None) -> int:
    """Add one a few times, half a second apart, and report progress."""
    for step in range(1, steps + 1):
        await asyncio.sleep(0.5)
        add(1, counter)
        await ctx.report_progress(step, steps, f"{step} of {steps}")
    return add(0, counter)


@server.tool()
def where(counter: str | None = None) -> str:
    """Which node has a counter, or this session."""
    return f"{os.environ.get('MOORING_NODE_NAME', 'no node')}, process {os.getpid()}"


def add(number: int, counter: str | None) -> int:
    kept = kept_of(counter)
    kept["count"] = kept.get("count", 0) + number
    return int(kept["count"])


def kept_of(counter: str | None) -> MutableMapping[str, Any]:
    try:
        return mooring.session_state() if counter is None else mooring.state(counter)
    except mooring.NoHandle:
        raise ToolError("there is no such counter: new_counter makes one") from None
    except mooring.NoSession:
        raise ToolError("which counter? Call new_counter, and send its answer as `counter`") from None
