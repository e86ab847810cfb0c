"""A request's body as it passes by: remembered in part, or checked against the MAC that follows it.

Nothing here holds a stream back: pieces go on as they come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

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
        # Of one that is too large: its beginning and its end.
        self._head = b""
        self._tail = b""
        self.is_whole = False
        # What is in it, once that was asked for: the message, or what a batch asks.
        self._message: jsonrpc.Message | None = None
        self._batch: tuple[jsonrpc.Asked] | None = None

    @property
    def is_lost(self) -> bool:
        """Whether it cannot be read a second time."""
        return self._too_large

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self.is_whole:
            piece = message.get("body", b"")
            if self._too_large:
                self._tail = (self._tail + piece)[-jsonrpc.TAIL_BYTES :]
            else:
                self._pieces += piece
                if len(self._pieces) > self._limit_bytes:
                    self._too_large = True
                    self._head = bytes(self._pieces[: jsonrpc.HEAD_BYTES])
                    self._tail = bytes(self._pieces[-jsonrpc.TAIL_BYTES :])
                    self._pieces.clear()
            self.is_whole = not message.get("more_body", False)
        return message

    @property
    def is_batch(self) -> bool:
        """Whether it begins as an array does."""
        return jsonrpc.begins_batch(self._head or self._pieces[: jsonrpc.HEAD_BYTES])

    async def read_rest(self, most_bytes: int = 0) -> None:
        """Read what the app did not: until the end, or the limit and so much of it."""
        size = 0
        while not self.is_whole and (not self._too_large or size < most_bytes):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))

    def from_start(self) -> Receive:
        """For one more reader: the body from its beginning, as far as it is remembered, then whatever comes.

        Of one that is too large its first bytes and what is left: whoever refuses it may find its id there.
        """
        has_begun = False

        async def receive() -> Message:
            nonlocal has_begun
            is_first, has_begun = not has_begun, True
            if is_first and self._too_large:
                left = self._head + (self._tail if self.is_whole else b"")
                return {"type": "http.request", "body": left, "more_body": not self.is_whole}
            if is_first and (self._pieces or self.is_whole):
                return {"type": "http.request", "body": bytes(self._pieces), "more_body": not self.is_whole}
            return await self.receive()

        return receive

    def message(self) -> jsonrpc.Message:
        """The JSON-RPC message in the body, its id alone where it is too large; empty where it is none, or not all."""
        if not self.is_whole:
            return {}
        if self._too_large:
            request_id = jsonrpc.id_at_either_end(self._head, self._tail)
            return {} if request_id is None else {"id": request_id}
        if self._message is None:
            self._message = jsonrpc.read_message(self._pieces) or {}
        return self._message

    def asked(self) -> jsonrpc.Asked:
        """The id of the request in the body, or those of a batch; None where it asks nothing, or nobody can read it.

        Of one that is too large nobody knows more than its id.
        """
        message = self.message()
        if message or self._too_large:
            return jsonrpc.id_of(message) if "method" in message or self._too_large else None
        if self._batch is None and self.is_whole:
            self._batch = (jsonrpc.asked_in(self._pieces),)
        return None if self._batch is None else self._batch[0]

    def asked_at_either_end(self) -> jsonrpc.Asked:
        """The same, also of one of which the middle is missing."""
        if self._too_large or not self.is_whole:
            return self.asked()
        head, tail = self._pieces[: jsonrpc.HEAD_BYTES], self._pieces[-jsonrpc.TAIL_BYTES :]
        return self.asked() or jsonrpc.id_at_either_end(bytes(head), bytes(tail))

    @property
    def size(self) -> int:
        """Of what is remembered, bytes; 0 of one that is too large."""
        return len(self._pieces)

    def holds(self, *words: bytes) -> bool:
        """Whether one of these is in a body that is whole and not too large."""
        return self.is_whole and any(word in self._pieces for word in words)

    def digest(self) -> bytes:
        """What tells it from every other body; "" where it is not whole or too large."""
        return b"" if self._too_large or not self.is_whole else hashlib.sha256(self._pieces).digest()

    def raw(self) -> bytes:
        """The body as it came, "" where it is not whole or too large."""
        return b"" if self._too_large or not self.is_whole else bytes(self._pieces)


class WantedBody:
    """Waits for a whole body, up to a limit, before anybody reads it.

    Attributes:
        whole: the body; None where it is larger than the limit, or its client has left before it was sent.
        is_too_large: it is larger.
        head: of one that is, its beginning.
    """

    __slots__ = ("_after", "_came", "_limit_bytes", "_receive", "head", "is_too_large", "whole")

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        # What has come, as one message: a client may send each byte by itself, and a message takes hundreds. And what
        # came after it, where that is not more of it.
        self._came: Message | None = None
        self._after: Message | None = None
        self.whole: bytes | None = None
        self.is_too_large = False
        self.head = b""

    async def read(self) -> None:
        """Wait for it, once."""
        message = await self._receive()
        if message["type"] != "http.request":
            self._after = message
            return
        body: bytes = message.get("body", b"")
        more: bool = message.get("more_body", False)
        if more and len(body) <= self._limit_bytes:
            body, more = await self._read_on(bytearray(body))
        self.is_too_large = len(body) > self._limit_bytes
        self._came = {"type": "http.request", "body": body, "more_body": more}
        if self.is_too_large:
            self.head = body[: jsonrpc.HEAD_BYTES]
        elif not more:
            self.whole = body

    async def _read_on(self, pieces: bytearray) -> tuple[bytes, bool]:
        """The body as far as it is wanted, and whether there is more of it."""
        more = True
        while more and len(pieces) <= self._limit_bytes:
            message = await self._receive()
            if message["type"] != "http.request":
                self._after = message
                break
            pieces += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(pieces), more

    @property
    def beginning(self) -> bytes:
        """What of it has come, and was not taken yet."""
        return b"" if self._came is None else self._came["body"]

    def receive(self) -> Awaitable[Message]:
        """For the one who reads it then: what has come, and what comes after."""
        return self._receive() if self._came is None and self._after is None else self._take()

    async def _take(self) -> Message:
        """What has come, once somebody waits for it: some apps let go of what they have asked for."""
        if self._came is not None:
            came, self._came = self._came, None
            return came
        if self._after is not None:
            after, self._after = self._after, None
            return after
        return await self._receive()


def in_place_of(receive: Receive, body: bytes) -> Receive:
    """The same with this body in place of the one that it brings."""
    is_replaced = False

    async def receive_replaced() -> Message:
        nonlocal is_replaced
        if is_replaced:
            return await receive()
        is_replaced = True
        while (message := await receive()).get("more_body", False):
            pass
        return {**message, "body": body} if message["type"] == "http.request" else message

    return receive_replaced


def changed_as_it_passes(receive: Receive, change: Callable[[bytes], bytes], longest: int) -> Receive:
    """The same with its body changed, however large that is.

    Args:
        change: replaces texts of at most `longest` bytes in what has come.
    """
    held = b""

    async def receive_changed() -> Message:
        nonlocal held
        message = await receive()
        if message["type"] != "http.request":
            return message
        data = change(held + message.get("body", b""))
        ready = max(0, len(data) - longest) if message.get("more_body", False) else len(data)
        held = data[ready:]  # one may begin in there
        return {**message, "body": data[:ready]}

    return receive_changed


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
