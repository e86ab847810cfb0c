"""The one contract of all ways to bring a request to a peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from mooring.asgi import Receive, Scope, Send
from mooring.core.model import NodeInfo
from mooring.node.passing import PassingAnswer


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """A request on its way to a peer, and the way back to its client.

    Nobody is named: the owner's app finds out who asks, and what is known here may be somebody else's name.

    Attributes:
        nonce: of this request; the same again where it may have reached this peer before.
        last_words: what ends an event stream whose owner died.
        answer: what has come of it.
    """

    nonce: str
    session_id: str | None
    scope: Scope
    receive: Receive
    send: Send
    last_words: Callable[[], bytes]
    answer: PassingAnswer = field(default_factory=PassingAnswer)


class PeerLink(Protocol):
    async def forward(self, peer: NodeInfo, request: PassedRequest) -> None:
        """Pass the request to `peer` and its answer back, until it ends or the peer's lease does.

        Where the client leaves, whoever called this cancels it (`mooring.node.requests.attending`).

        Raises:
            PeerSilent, PeerMoved: nothing was sent to the client yet.
        """
        ...

    async def goes_past(self, peer: NodeInfo) -> bool:
        """Whether what is passed on to this peer goes past everything that is around Mooring there."""
        ...

    async def aclose(self) -> None: ...
