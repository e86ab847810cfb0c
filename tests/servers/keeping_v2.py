"""`keeping` with SDK v2."""

from mcp.server.mcpserver import MCPServer

from tests.servers.keeping import keeping_server

server = keeping_server(MCPServer)
