"""A request at a path whose requests all go to one node (`mooring.core.one_node`), from whichever node it reached.

It is held while that node is silent, or while this one does not know whether it may serve. Our refusal is plain text:
browsers come here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mooring.asgi import Receive, Scope, Send, respond, route_of
from mooring.core.one_node import decide_for_one
from mooring.core.request import RequestFacts
from mooring.core.routing import Decision, Forward, Hold, Moved, Open, Reason
from mooring.core.text import clean
from mooring.node.node import Node
from mooring.node.requests.answers import advice_on
from mooring.node.requests.attending import AttendedClient
from mooring.node.requests.following import FollowedRequest

logger = logging.getLogger("mooring.routing")

_SILENT: Final = b"The node that answers this for the whole cluster cannot be reached now: try again.\n"
_RETRY_AFTER: Final = [(b"retry-after", b"3")]

ServeHere = Callable[[Receive], Awaitable[Moved | None]]


class GatheredRequest:
    """One such request."""

    def __init__(self, node: Node, facts: RequestFacts, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._facts = facts
        self._scope = scope
        self._receive = receive
        self._send = send

    async def serve(self, serve_here: ServeHere) -> None:
        """Bring it to the one node; `serve_here` where that is this one."""
        keeper = self._node.keeper
        if keeper.has_lapsed:
            await keeper.regain()
        decision = self._decide()
        if not isinstance(decision, Forward | Hold):
            await self._end(decision, serve_here, self._receive)
            return
        async with AttendedClient(self._receive) as client:
            followed = FollowedRequest(
                self._node, self._facts, self._scope, client, self._send, self._decide_anew, is_bound=True
            )
            outcome = await followed.follow(decision)
            if outcome is not None:
                await self._end(outcome, serve_here, followed.receive)

    def _decide(self) -> Decision:
        keeper = self._node.keeper
        return decide_for_one(self._node.id, self._node.membership.view, has_lapsed=keeper.has_lapsed)

    async def _decide_anew(self) -> Decision:
        """The same with the view of this moment, as far as the store gives one."""
        if await self._node.keeper.regain():
            await self._node.keeper.look()
        return self._decide()

    async def _end(self, decision: Decision, serve_here: ServeHere, receive: Receive) -> None:
        """It goes no further. What this node cannot serve now may work on the next try."""
        if isinstance(decision, Open) and await serve_here(receive) is None:
            return
        self._node.tally.refused[Reason.UNREACHABLE] += 1
        path = clean(route_of(self._scope))
        logger.warning(
            "refused %s %s, which goes to one node (one_node_paths): %s%s",
            self._facts.method,
            path,
            Reason.UNREACHABLE,
            advice_on(Reason.UNREACHABLE),
        )
        await respond(self._send, 503, _SILENT, extra=_RETRY_AFTER, method=self._facts.method)
