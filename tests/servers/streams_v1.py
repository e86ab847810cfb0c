"""A server of the SDK's first generation on the HTTP+SSE transport."""

import os

from mcp.server.fastmcp import Context, FastMCP

server = FastMCP("streams", log_level="WARNING")
_counts: dict[int, int] = {}


@server.tool()
def count(ctx: Context) -> str:
    """How many times this session has asked, and in which process."""
    _counts[id(ctx.session)] = _counts.get(id(ctx.session), 0) + 1
    return f"{_counts[id(ctx.session)]} {os.getpid()}"


app = server.sse_app()
