"""What becomes of a request on the MCP path.

The router decides (`mooring.core.routing`) and calls one of the others: `opening` for one that may open a session,
`in_session` for one on a session that lives here, `following` for one that goes to a peer, `refusing` for one that is
refused. One that a peer passed on is unwrapped by `from_peer` before that.
"""
