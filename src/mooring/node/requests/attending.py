"""A client that may leave at any moment: while its request is read, held, tried again, or answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from types import TracebackType
from typing import Final, Self

from mooring.asgi import Message, Receive

_AHEAD_BYTES: Final = 64 * 1024
"""Of a body that nobody reads yet: one of this size is no reason to miss that its client leaves."""
_LEAST_BYTES: Final = 256
"""What a piece counts for, however small it is: a client may send each byte by itself."""


class AttendedClient:
    """Reads ahead of whoever reads the request: only who reads on hears that the client has left.

    Attributes:
        has_left: the client has left, or what can be heard of it has failed.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        # What has come and was not read yet.
        self._ahead: deque[Message] = deque()
        self._ahead_bytes = 0
        # Something came, or the client has left; and something was read.
        self._stirred = asyncio.Event()
        self._taken = asyncio.Event()
        self.has_left = False

    async def __aenter__(self) -> Self:
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await _end(self._reading)

    async def receive(self) -> Message:
        """What the client sent, in its order; then, as often as it is asked for, that the client has left."""
        while not self._ahead and not self.has_left:
            self._stirred.clear()
            await self._stirred.wait()
        if not self._ahead:
            return {"type": "http.disconnect"}
        message = self._ahead.popleft()
        self._ahead_bytes -= _size_of(message)
        self._taken.set()
        return message

    async def attend(self, work: Awaitable[None]) -> None:
        """Do this for as long as the client is there; once it has left, nobody cares how it went."""
        working = asyncio.ensure_future(work)
        try:
            await asyncio.wait({working, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            if not self.has_left:
                working.result()
        finally:
            await _end(working)

    async def leaves_within(self, seconds: float) -> bool:
        """Whether the client leaves within this time, which is waited for if it stays."""
        await asyncio.wait({self._reading}, timeout=seconds)
        return self.has_left

    async def _read(self) -> None:
        try:
            while (message := await self._receive())["type"] != "http.disconnect":
                self._ahead.append(message)
                self._ahead_bytes += _size_of(message)
                self._stirred.set()
                while self._ahead_bytes > _AHEAD_BYTES:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self.has_left = True
            self._stirred.set()


def _size_of(message: Message) -> int:
    return max(len(message.get("body", b"")), _LEAST_BYTES)


async def _end(task: asyncio.Future[None]) -> None:
    """Stop it, and wait until it has let go of all that it holds."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
