"""An answer on its way to a client, which may have to be ended in the place of whoever began it."""

from __future__ import annotations

from mooring.asgi import Message, Send, is_open_event_stream
from mooring.core.sse import BEFORE_ALL, ends_block, last_bytes


class PassingAnswer:
    """
    Attributes:
        has_begun: something of it is on its way.
        is_whole: nothing is missing.
        has_ids: it is an event stream that the client can come back to: its events have ids.
    """

    __slots__ = ("_start", "_tail", "has_begun", "has_ids", "is_whole")

    def __init__(self) -> None:
        self.has_begun = False
        self.is_whole = False
        self.has_ids = False
        self._start: Message = {}
        # The last bytes that went out, as many as tell whether an event ended with them; empty while a piece goes out,
        # since nobody knows how much of it did.
        self._tail = BEFORE_ALL

    async def pass_on(self, message: Message, send: Send) -> None:
        """Send the next message of the answer."""
        self.has_begun = True
        if message["type"] == "http.response.body":
            piece: bytes = message.get("body", b"")
            before, self._tail = self._tail, b""
            self.has_ids = self.has_ids or piece.startswith(b"id: ") or b"\nid: " in piece
            await send(message)
            self._tail = last_bytes(before, piece)
            self.is_whole = not message.get("more_body", False)
        else:
            if message["type"] == "http.response.start":
                self._start = message
            await send(message)

    async def end(self, send: Send, last_words: bytes) -> None:
        """End an event stream properly, between two events; anything else is broken off: no part is taken for a whole.

        So is one to which nothing can be added: it was compressed, or its length was announced. One that the client can
        come back to just ends: what is to be said is said then. Clients drop an event that is not whole.
        """
        is_open = is_open_event_stream(self._start.get("headers", []))
        if self.has_ids:
            last_words = b""
        if not self.is_whole and is_open and (self.has_ids or ends_block(self._tail)):
            self.is_whole = True
            await send({"type": "http.response.body", "body": last_words, "more_body": False})
