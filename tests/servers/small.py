"""A small server of the official SDK's second generation, as its users run it: no event store, all options default.

So its streams carry no event ids, and nothing can be resumed. SMALL_VERSION is the version that it reports.
"""

import asyncio
import os
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool
from starlette.applications import Starlette

from tests.servers import context_tools, plain
from tests.servers.context_tools import ToolContext

NAME: Final = "small"


async def work(steps: int, seconds: float, ctx: ToolContext) -> str:
    """Reports progress, then works for a while, as many times as asked."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps)
        await asyncio.sleep(seconds)
    return f"worked {steps} times"


def make_app(**options: Any) -> Starlette:
    """The server as an ASGI application; `options` are those of the SDK's `streamable_http_app`."""
    tools = [Tool.from_function(context_tools.for_context(tool, Context)) for tool in (context_tools.count, work)]
    tools.append(Tool.from_function(plain.where))
    server = MCPServer(NAME, version=os.environ.get("SMALL_VERSION", "1.0.0"), tools=tools, log_level="WARNING")
    return server.streamable_http_app(**options)


app: Final = make_app()
stateless: Final = make_app(stateless_http=True)
