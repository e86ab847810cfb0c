"""Mooring keeps every MCP request on the node that holds its state."""
