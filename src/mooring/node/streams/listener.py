"""One client at the end of a stream, for as long as it takes what it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from mooring.asgi import Message, Send
from mooring.node.passing import PassingAnswer

STALL_SECONDS: Final = 30.0
"""A client that has not taken an event for this long is taken for gone: it may come back for what it missed."""


class Listener:
    """
    Args:
        on_stall: called once it stalls: its connection is of no use any more.

    Attributes:
        is_gone: nothing more is sent to it.
        gone: set from then on.
    """

    def __init__(self, answer: PassingAnswer, send: Send, on_stall: Callable[[], None] = lambda: None) -> None:
        self._answer = answer
        self._send = send
        self._on_stall = on_stall
        self.is_gone = False
        self.gone = asyncio.Event()
        # While something is on its way: the task that waits for it, until `leave` takes it, and since when it waits.
        self._sender: asyncio.Task[Any] | None = None
        self._since = 0.0
        # Looks whether the client stalls. One for all that is sent within its time: setting one takes longer than most
        # sending does, and so would an `asyncio.timeout` around it.
        self._watch: asyncio.TimerHandle | None = None

    async def begin(self, start: Message) -> None:
        """Send the beginning of the answer."""
        await self._pass_on(start)

    async def take(self, data: bytes) -> None:
        """Send this part of the stream, if the client is there. Returns in any case."""
        await self._pass_on({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """End the stream cleanly."""
        await self._pass_on({"type": "http.response.body", "body": b"", "more_body": False})
        self.leave()

    async def make_way(self) -> None:
        """Another client takes its place: end cleanly, unless it stalls."""
        if self._sender is None:
            await self.end()
        self.leave()

    def leave(self) -> None:
        """Send nothing more, nor wait for what is on its way: the client left, or another takes its place."""
        self.is_gone = True
        self.gone.set()
        if self._watch is not None:
            self._watch.cancel()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.cancel()

    def stall(self) -> None:
        """It does not take what it is given: its connection is of no use any more, and nobody waits for it."""
        if not self.is_gone:
            self.leave()
            self._on_stall()

    async def _pass_on(self, message: Message) -> None:
        if self.is_gone:
            return
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        if self._watch is None:
            self._watch = loop.call_later(STALL_SECONDS, self._look)
        sender = self._sender = asyncio.current_task()
        try:
            await self._answer.pass_on(message, self._send)
        except OSError:  # servers raise for a client that left, or say nothing
            self._sender = None
            self.leave()
        except asyncio.CancelledError:
            # `leave` takes the task and cancels it once. Whoever else cancels it wants it to end.
            if self._sender is not None or sender is None or sender.uncancel():
                raise
        finally:
            self._sender = None

    def _look(self) -> None:
        """Whether the client has not taken what is on its way for too long; if not, look again when it may have."""
        self._watch = None
        if self._sender is None:
            return
        loop = asyncio.get_running_loop()
        left = self._since + STALL_SECONDS - loop.time()
        if left <= 0:
            self.stall()
        else:
            self._watch = loop.call_later(left, self._look)
