"""How the doctor talks: HTTP without surprises, the few messages of MCP, and sessions that are all closed."""
