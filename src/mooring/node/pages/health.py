"""The two pages that load balancers ask: does the node live, and does it take new sessions?"""

from __future__ import annotations

from typing import Final

from mooring.asgi import Scope, Send, respond
from mooring.core.model import TAKES_NEW_SESSIONS, NodeState
from mooring.node.node import Node

METHODS: Final = frozenset({"GET", "HEAD"})
"""A request with any other method on these paths goes to the app."""


async def answer_alive(node: Node, scope: Scope, send: Send) -> None:
    """200 where the process serves what it holds; 503 where it may not, since its peers go on without it."""
    if node.is_ending:
        await _answer(503, "about to end", scope, send)
    elif node.has_joined and node.keeper.has_lapsed and node.membership.standing is not None:
        await _answer(503, f"its lease is over: {_why_no_lease(node)}", scope, send)
    else:
        await _answer(200, "alive", scope, send)


async def answer_ready(node: Node, scope: Scope, send: Send) -> None:
    """200 where the node takes new sessions, else 503; the body says why."""
    await _answer(*_readiness(node), scope, send)


def _readiness(node: Node) -> tuple[int, str]:
    membership = node.membership
    if membership.state not in TAKES_NEW_SESSIONS:
        return 503, str(membership.state)
    if node.is_ending:
        return 503, "about to end"
    if node.keeper.has_lapsed:
        return 503, f"its lease is over: {_why_no_lease(node)}"
    if membership.state is NodeState.DEGRADED:
        return 200, f"degraded: {membership.why_for_anyone}"
    if not node.takes_new_sessions:
        return 503, f"full: {len(node.sessions)} sessions, capacity {node.settings.capacity}"
    return 200, "ready"


def _why_no_lease(node: Node) -> str:
    why = filter(None, (node.membership.standing, node.membership.why_for_anyone))
    return " and ".join(why) or "not renewed yet"


async def _answer(status: int, text: str, scope: Scope, send: Send) -> None:
    await respond(send, status, f"{text}\n".encode(), method=scope["method"])
