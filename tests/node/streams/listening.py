"""A client that reads a stream, and whose connection can be cut at any byte; it comes back by the last id it has."""

from __future__ import annotations

import asyncio

from mooring.asgi import Message
from mooring.core.sse import SseEvent, SseParser
from mooring.core.stream_ids import Place, read_event_id
from mooring.node.passing import PassingAnswer
from mooring.node.streams.listener import Listener
from mooring.node.streams.stream import Stream


class Connection:
    """One of a client's.

    Args:
        most_bytes: after which it is cut; None for never.
        is_silent: the server does not say so: it goes on taking what it is given, and nothing arrives.
    """

    def __init__(self, most_bytes: int | None = None, *, is_silent: bool = False) -> None:
        self.received = b""
        self.is_ended = False
        self.stalls = False
        self.listener = Listener(PassingAnswer(), self.send)
        self._most_bytes = most_bytes
        self._is_silent = is_silent

    async def send(self, message: Message) -> None:
        if self.stalls:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        body: bytes = message.get("body", b"")
        left = len(body) if self._most_bytes is None else self._most_bytes - len(self.received)
        self.received += body[: max(left, 0)]
        if left < len(body):
            if not self._is_silent:
                raise OSError("the connection was cut")
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_ended = True

    def events(self) -> list[SseEvent]:
        return SseParser().feed(self.received)


class Client:
    """One that listens on one connection at a time.

    Attributes:
        events: what it has got, on all of them.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: list[SseEvent] = []
        self.connection: Connection | None = None

    @property
    def place(self) -> Place | None:
        """Where it is."""
        last = next((event.id for event in reversed(self.events) if event.id), None)
        named = None if last is None else read_event_id(last)
        return None if named is None else named[1]

    def give_up(self) -> None:
        """What still comes on this connection is not read any more."""
        if self.connection is not None:
            self.events += self.connection.events()
            self.connection = None

    async def connect(self, connection: Connection) -> None:
        self.give_up()
        self.connection = connection
        await self.stream.listen(connection.listener, self.place)

    def texts(self) -> list[str]:
        return [event.data for event in self.events]
