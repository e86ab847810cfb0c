"""Comments on event streams that are silent, so that nobody on the way to the client takes their connection for idle.

Load balancers end a connection on which nothing was said for a while: nginx by default after 60 s, Azure Container Apps
after 240 s. A comment is no event: it has no id, is not kept, and clients drop it (WHATWG HTML, 9.2.6, which suggests
one every 15 s or so). Only the node that the client came to says it, so none travels between nodes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Self

from mooring.asgi import Message, Send, is_open_event_stream
from mooring.core.sse import BEFORE_ALL, SseComment, encode, ends_block, last_bytes

logger = logging.getLogger("mooring.sessions")

COMMENT: Final = encode(SseComment("keep-alive"))


class KeptAlive:
    """An answer on its way to a client. Where it is an event stream, comments are said into its silence, between two
    events; anything else, and a stream that is compressed, is left alone.

    Args:
        seconds: how long a silence may last; 0 for ever.
        may_speak: whether the stream is one of ours, asked when a comment is due.
    """

    __slots__ = (
        "_is_stream",
        "_may_speak",
        "_on_their_way",
        "_seconds",
        "_send",
        "_since",
        "_speaking",
        "_tail",
        "_watch",
    )

    def __init__(self, send: Send, seconds: float, may_speak: Callable[[], bool] = lambda: True) -> None:
        self._send = send
        self._seconds = seconds
        self._may_speak = may_speak
        self._is_stream = False
        # The last bytes that went out: whether they end an event. Empty while it is not known how many did.
        self._tail = BEFORE_ALL
        # When something was said last; and, while the stream lasts, what looks how long ago that is: one for all that
        # is said in time, since setting one takes longer than sending an event.
        self._since = 0.0
        self._watch: asyncio.TimerHandle | None = None
        # What the app says waits for a comment that is on its way, and no comment begins while something of it is.
        self._on_their_way = 0
        self._speaking: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_stream:
            self.stop()

    def send(self, message: Message) -> Awaitable[None]:
        """What the app says."""
        if self._is_stream:
            return self._pass_on(message)
        if message["type"] == "http.response.start" and self._seconds and begins_stream(message):
            return self._begin(message)
        return self._send(message)

    async def _begin(self, message: Message) -> None:
        await self._send(message)
        self._is_stream = True
        self._since = asyncio.get_running_loop().time()
        self._look_in(self._seconds)

    async def _pass_on(self, message: Message) -> None:
        if self._speaking is not None:
            await asyncio.wait([self._speaking])
        self._on_their_way += 1
        try:
            if message["type"] != "http.response.body":
                await self._send(message)
                return
            piece: bytes = message.get("body", b"")
            before, self._tail = self._tail, b""
            await self._send(message)
            self._tail = last_bytes(before, piece)
            self._since = asyncio.get_running_loop().time()
        finally:
            self._on_their_way -= 1
        if not message.get("more_body", False):
            self.stop()

    def _look_in(self, seconds: float) -> None:
        self._watch = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Whether the stream has been silent for long enough; if not, look again when it may have been."""
        left = self._since + self._seconds - asyncio.get_running_loop().time()
        if left > 0 or self._on_their_way:  # to a client that is slow to take it
            self._look_in(max(left, self._seconds / 4))
        else:
            self._speaking = asyncio.create_task(self._speak(), name="mooring keep-alive")

    async def _speak(self) -> None:
        try:
            if ends_block(self._tail) and self._may_speak():
                await self._send({"type": "http.response.body", "body": COMMENT, "more_body": True})
            self._since = asyncio.get_running_loop().time()
            self._look_in(self._seconds)
        except OSError:  # servers raise for a client that left, or say nothing
            pass
        except Exception:
            logger.exception("a silent event stream takes no comment")
        finally:
            self._speaking = None

    def stop(self) -> None:
        """It is over, or broken off."""
        self._is_stream = False
        if self._watch is not None:
            self._watch.cancel()
        if self._speaking is not None:
            self._speaking.cancel()


def begins_stream(message: Message) -> bool:
    """Whether this is the beginning of an answer that may be kept alive."""
    return message["status"] == 200 and is_open_event_stream(message.get("headers", []))
