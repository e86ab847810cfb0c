"""A server of the SDK's first generation with ordinary functions for tools: it calls them in the event loop."""

import time

from mcp.server.fastmcp import Context, FastMCP

server = FastMCP("busy", log_level="WARNING")
_counts: dict[int, int] = {}


@server.tool()
def count(ctx: Context) -> str:
    """How many times this session has asked, in this process."""
    _counts[id(ctx.session)] = _counts.get(id(ctx.session), 0) + 1
    return str(_counts[id(ctx.session)])


@server.tool()
def block(seconds: float) -> str:
    """Lets nothing else run for this long."""
    time.sleep(seconds)
    return "done"
