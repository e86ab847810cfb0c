"""`mooring doctor`: finds out, as a client, why MCP breaks on a deployment, and says what to change."""
