"""A server of SDK v1 that keeps what it is told in `session_state()`."""

from mcp.server.fastmcp import FastMCP

from tests.servers.state_tools import TOOLS

server = FastMCP("state", log_level="WARNING")
for tool in TOOLS:
    server.add_tool(tool)
