"""A server of SDK v2 that keeps what it is told in `session_state()`."""

from mcp.server.mcpserver import MCPServer

from tests.servers.state_tools import TOOLS

server = MCPServer("state", log_level="WARNING")
for tool in TOOLS:
    server.add_tool(tool)
