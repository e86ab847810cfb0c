"""A request goes to a peer and its answer comes back, through a node that may end before the answer does.

what comes back                     once this node has drained     once its server waits no longer
----------------------------------  -----------------------------  ---------------------------------------------
nothing yet                         is waited for, for a while     refuse: nobody knows
a stream that is only listened to   ends; its client comes back    the same
another event stream                goes on                        ends; where its events have ids its client
                                                                   comes back, else: nobody knows
anything else                       goes on                        is broken off
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from mooring.asgi import Message, Send, is_open_event_stream
from mooring.core.model import NodeInfo
from mooring.core.request import RequestFacts
from mooring.node.links.peer_link import PassedRequest
from mooring.node.node import Node
from mooring.node.requests.attending import AttendedClient


class Passage:
    """Of one request, however often it goes out.

    Attributes:
        has_answer: a peer has begun to answer.
    """

    def __init__(self, node: Node, facts: RequestFacts, client: AttendedClient, send: Send) -> None:
        self._node = node
        # Of HTTP+SSE the stream is the session, which ends with it.
        self._only_listens = facts.method == "GET" and facts.session_id is not None and not facts.in_query
        self._client = client
        self._send = send
        self._request: PassedRequest | None = None
        self._forwarding: asyncio.Future[None] | None = None
        self._is_let_go = False
        self._unanswered = node.open_calls.passed_on()
        self._open = ExitStack()
        self.has_answer = False

    def close(self) -> None:
        """The request is over."""
        self._unanswered.is_over()
        self._open.close()

    async def forward(self, peer: NodeInfo, request: PassedRequest) -> None:
        """Bring it there once, for as long as its client stays; its answer comes by `send`.

        Raises:
            PeerError: nothing was sent to the client yet.
        """
        self._request = request
        self._forwarding = asyncio.ensure_future(self._node.ways.link.forward(peer, request))
        await self._client.attend(self._forwarding)

    async def send(self, message: Message) -> None:
        is_first, self.has_answer = not self.has_answer, True
        await self._send(message)
        if is_first:
            self._unanswered.is_over()
            if self._only_listens and is_open_event_stream(message.get("headers", [])):
                self._open.enter_context(self._node.open_calls.subscription(self._let_go))

    async def _let_go(self) -> None:
        self._is_let_go = True
        if self._forwarding is not None:
            self._forwarding.cancel()
            await asyncio.wait({self._forwarding})

    @property
    def is_left_to_us(self) -> bool:
        """Whether it was cancelled since this node ends, so that its client is still to be told."""
        return (self._node.is_ending or self._is_let_go) and not self._client.has_left

    async def end(self) -> bool:
        """End what has come of the answer; returns whether its client can tell that from one that is broken off."""
        if self._request is None:
            return False
        await self._request.answer.end(self._send, self._request.last_words())
        return self._request.answer.is_whole
