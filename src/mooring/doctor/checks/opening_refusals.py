"""What a refused `initialize` means, where only some are refused and where all are, and what to change."""

from __future__ import annotations

from typing import Final

from mooring.doctor.evidence.opening_kinds import OpeningRefusal

OPENING_MEANS: Final = {
    OpeningRefusal.NO_ANSWER: "A node that is down or hangs, and gets its share of new sessions, looks like this.",
    OpeningRefusal.EMPTY: "A proxy that loses its connection to the node, and ends the answer as if it were whole, "
    "looks like this: Caddy 2.6 does, also where the node lives. So does a server that fails while it answers. The "
    "client waits for an answer that never comes.",
    OpeningRefusal.DOWN: "A node that is down, and gets its share of new sessions all the same, looks like this; so "
    "does a server that fails.",
    OpeningRefusal.LOGIN: "The same request is served elsewhere or at another time: a node whose keys or settings for "
    "tokens differ from the others' looks like this, and so does a proxy in front of one node.",
    OpeningRefusal.HOST: "A node whose list of allowed host names lacks this one looks like this.",
    OpeningRefusal.ELSEWHERE: "What answers is no MCP endpoint: a node that serves MCP at another path, or runs "
    "something else, looks like this.",
    OpeningRefusal.TAKEN: "A server that has one transport for all clients takes the first session and refuses the "
    "next ones, until it is started again.",
    OpeningRefusal.FULL: "The server, or a node of it, takes so many sessions at a time and no more.",
    OpeningRefusal.UNKNOWN_CALL: "It does not know `initialize`: a server of the modern era alone, one that is no MCP "
    "server, or another one behind the same URL.",
    OpeningRefusal.VERSION: "A server that does not speak the version that a client asks for answers with one that it "
    "does speak (2025-11-25, Lifecycle: Version Negotiation); it does not refuse.",
    OpeningRefusal.RATE: "A limit on the rate of requests, also at the slowest pace of the doctor.",
    OpeningRefusal.OTHER: "For the client that meets this, nothing works until it tries again.",
}
OPENING_CHANGES: Final = {
    OpeningRefusal.NO_ANSWER: "Let the load balancer check the health of its nodes (HAProxy: `check` on each `server` "
    "line), and look at those that it gives up.",
    OpeningRefusal.EMPTY: "Run a newer release of the proxy (Debian 12 has Caddy 2.6), and look at its log and the "
    "server's at the time of this run.",
    OpeningRefusal.DOWN: "Let the load balancer check the health of its nodes (HAProxy: `check` on each `server` "
    "line), and look at those that it gives up; look at the server's log as well.",
    OpeningRefusal.LOGIN: "Compare the settings for tokens on all nodes: issuer, audience, keys, secrets, clocks; "
    "and the rules of what stands before each.",
    OpeningRefusal.HOST: "Give every node the same list of host names (`allowed_hosts`).",
    OpeningRefusal.ELSEWHERE: "Compare the nodes: the path at which each serves MCP, and the list of nodes that the "
    "load balancer has for this path.",
    OpeningRefusal.TAKEN: "Make a new server and a new transport for each session: in the TypeScript SDK one "
    "StreamableHTTPServerTransport for each `initialize`, with a sessionIdGenerator.",
    OpeningRefusal.FULL: "Raise the limit on sessions, or let idle ones end sooner (`session_idle_timeout` in the "
    "Python SDK), and see that clients end theirs with DELETE.",
    OpeningRefusal.UNKNOWN_CALL: "Check what runs at this URL on each node, and its version.",
    OpeningRefusal.VERSION: "Answer with a version that the server speaks instead of an error.",
    OpeningRefusal.RATE: "Raise the limit for this path: a client sends several requests at once when it connects.",
    OpeningRefusal.OTHER: "Look at the server's and the proxy's log at the time of this run.",
}
