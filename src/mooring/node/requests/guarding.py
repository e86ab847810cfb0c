"""Calls with handles that are somebody's: nobody else's reaches the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.core.handles import Handle
from mooring.core.unread_json import PassingSearch
from mooring.node.node import Node
from mooring.node.requests.principal import principal_of

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class GuardedCall:
    """A call with handles that are somebody's: the app gets no byte of its body before it has said who asks.

    Attributes:
        refused: the handle that is another's; the app has answered nothing then that its client has heard.

    Args:
        let_in: told whose call it is, once all of them are theirs, before the app has a byte of it; returns whether
            they are still here.
        search: for others in its body, which was too large to be searched before, or is nothing that we read: the app
            does not get the whole of it where there is one of somebody else.
    """

    def __init__(
        self,
        node: Node,
        handles: list[Handle],
        scope: Scope,
        receive: Receive,
        send: Send,
        let_in: Callable[[str], bool],
        search: PassingSearch | None = None,
    ) -> None:
        self._node = node
        self._let_in = let_in
        self._search = search
        self._handles = handles
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_let_in = False
        self._has_begun = False
        # Nothing more of it is read: there was another's in it.
        self._is_over = False
        self.refused: Handle | None = None

    async def serve(self, app: App) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            if self.refused is None:
                raise

    async def receive(self) -> Message:
        if not self._is_let_in and not self._is_over and not (self._has_begun and self._handles):
            principal = principal_of(self._scope)
            self.refused = self._anothers(self._handles)
            self._is_let_in = self.refused is None and self._let_in(principal)
        if not self._is_let_in:
            return _DISCONNECT
        message = await self._receive()
        if self._search is not None and message["type"] == "http.request":
            found = map(self._node.handles.read, self._search.feed(message.get("body", b"")))
            anothers = self._anothers([handle for handle in found if handle is not None])
            if anothers is not None:
                self._is_let_in, self._is_over = False, True
                self.refused = None if self._has_begun else anothers
                return _DISCONNECT
        return message

    def _anothers(self, handles: list[Handle]) -> Handle | None:
        """The first of them that is another's."""
        principal = principal_of(self._scope)
        return next((one for one in handles if not self._node.handles.may_use(one, principal)), None)

    async def send(self, message: Message) -> None:
        if self.refused is None:
            self._has_begun = True
            await self._send(message)
