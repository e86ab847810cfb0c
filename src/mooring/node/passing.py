"""An answer on its way to a client, which may have to be ended in the place of whoever began it."""

from __future__ import annotations

from mooring.asgi import Message, Send, header

_BLOCK_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")


class PassingAnswer:
    """
    Attributes:
        has_begun: something of it is on its way.
        is_whole: nothing is missing.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self.is_whole = False
        self._start: Message = {}
        # The last bytes that went out, as many as tell whether an event ended with them; empty while a piece goes out,
        # since nobody knows how much of it did.
        self._tail = b"\n\n"

    async def pass_on(self, message: Message, send: Send) -> None:
        """Send the next message of the answer."""
        self.has_begun = True
        if message["type"] == "http.response.body":
            piece: bytes = message.get("body", b"")
            before, self._tail = self._tail, b""
            await send(message)
            self._tail = piece[-3:] if len(piece) > 2 else (before + piece)[-3:]
            self.is_whole = not message.get("more_body", False)
        else:
            if message["type"] == "http.response.start":
                self._start = message
            await send(message)

    async def end(self, send: Send, last_words: bytes) -> None:
        """End an event stream properly, between two events; anything else is broken off: no part is taken for a whole.

        So is one to which nothing can be added: it was compressed, or its length was announced.
        """
        headers = self._start.get("headers", [])
        is_stream = (header(headers, b"content-type") or b"").partition(b";")[0].strip().lower() == b"text/event-stream"
        is_open = header(headers, b"content-encoding") is None and header(headers, b"content-length") is None
        if not self.is_whole and is_stream and is_open and self._tail.endswith(_BLOCK_ENDS):
            self.is_whole = True
            await send({"type": "http.response.body", "body": last_words, "more_body": False})
