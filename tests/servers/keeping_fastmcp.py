"""`keeping` with FastMCP."""

from fastmcp import FastMCP

from tests.servers.keeping import keeping_server

server = keeping_server(FastMCP)
