"""How the doctor talks: HTTP without surprises, the few messages of MCP, and sessions that are all closed.

It decides nothing and remembers no more than it needs to close what it opened. A failure comes back as a value. It
knows nothing of an examination, of evidence or of checks.
"""
