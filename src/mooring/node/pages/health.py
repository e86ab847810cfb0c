"""The two pages that load balancers ask: is the process alive, and does the node take new sessions?"""

from __future__ import annotations

from typing import Final

from mooring.asgi import Scope, Send, respond
from mooring.core.model import NodeState
from mooring.node.node import Node

METHODS: Final = frozenset({"GET", "HEAD"})
"""A request with any other method on these paths goes to the app."""


async def answer_alive(scope: Scope, send: Send) -> None:
    """200: a process that answers is alive, and goes on serving what it holds."""
    await _answer(200, "alive", scope, send)


async def answer_ready(node: Node, scope: Scope, send: Send) -> None:
    """200 where the node takes new sessions, else 503; the body says why."""
    await _answer(*_readiness(node), scope, send)


def _readiness(node: Node) -> tuple[int, str]:
    membership = node.membership
    if membership.state is NodeState.DEGRADED:
        return 200, f"degraded: {membership.why_degraded}"
    if membership.state is not NodeState.READY:
        return 503, str(membership.state)
    if not node.takes_new_sessions:
        return 503, f"full: {len(node.sessions)} sessions, capacity {node.settings.capacity}"
    return 200, "ready"


async def _answer(status: int, text: str, scope: Scope, send: Send) -> None:
    await respond(send, status, f"{text}\n".encode(), method=scope["method"])
