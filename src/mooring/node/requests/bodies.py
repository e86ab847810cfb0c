"""A request's body as it passes by: remembered in part, or checked against the MAC that follows it.

Nothing here holds a stream back: pieces go on as they come.
"""

from __future__ import annotations

from mooring.asgi import Message, Receive
from mooring.core import jsonrpc
from mooring.core.signing import BODY_MAC_BYTES, BodyMac


class RememberedBody:
    """Passes a body on and remembers it, up to a limit, to read it once it is whole.

    Args:
        limit_bytes: a larger body is passed on and not remembered.
    """

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._pieces = bytearray()
        self._too_large = False
        self.is_whole = False

    @property
    def is_lost(self) -> bool:
        """Whether it cannot be read a second time."""
        return self._too_large

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self.is_whole:
            if not self._too_large:
                self._pieces += message.get("body", b"")
                if len(self._pieces) > self._limit_bytes:
                    self._too_large = True
                    self._pieces.clear()
            self.is_whole = not message.get("more_body", False)
        return message

    async def read_rest(self) -> None:
        """Read what the app did not, until the end or the limit."""
        while not self.is_whole and not self._too_large:
            if (await self.receive())["type"] == "http.disconnect":
                return

    def from_start(self) -> Receive:
        """For one more reader: the body from its beginning, as far as it is remembered, then whatever comes."""
        has_begun = False

        async def receive() -> Message:
            nonlocal has_begun
            is_first, has_begun = not has_begun, True
            if is_first and (self._pieces or self.is_whole):
                return {"type": "http.request", "body": bytes(self._pieces), "more_body": not self.is_whole}
            return await self.receive()

        return receive

    def message(self) -> jsonrpc.Message:
        """The JSON-RPC message in the body; empty where the body is not whole, too large, or no such message."""
        if not self.is_whole or self._too_large:
            return {}
        return jsonrpc.read_message(self._pieces) or {}

    def raw(self) -> bytes:
        """The body as it came, "" where it is not whole or too large."""
        return b"" if self._too_large or not self.is_whole else bytes(self._pieces)


class SignedBody:
    """Passes on a body that ends in its MAC, without the MAC.

    The last piece goes on only once the MAC has proved right; if it is wrong, the app sees the client leave
    (`http.disconnect`), so it never holds a whole body that no peer has sent, and `is_forged` is set.
    """

    def __init__(self, receive: Receive, mac: BodyMac) -> None:
        self._receive = receive
        self._mac = mac
        self._held = b""
        self._ended = False
        self.is_forged = False

    async def receive(self) -> Message:
        if self._ended:
            return {"type": "http.disconnect"} if self.is_forged else await self._receive()
        message = await self._receive()
        if message["type"] != "http.request":
            return message
        held = self._held + message.get("body", b"")
        piece, self._held = held[:-BODY_MAC_BYTES], held[-BODY_MAC_BYTES:]
        self._mac.update(piece)
        if message.get("more_body", False):
            return {"type": "http.request", "body": piece, "more_body": True}
        self._ended = True
        if not self._mac.matches(self._held):
            self.is_forged = True
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": False}
