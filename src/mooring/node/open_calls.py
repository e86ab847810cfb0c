"""The requests that are being answered on this node, so that it ends no sooner than they do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

_END_SECONDS: Final = 1.0
"""A client that reads nothing hears no end."""


class _Count:
    """Within this context one more is being answered: a single object for all of them, which costs nothing to enter.

    Attributes:
        none: set while there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.none = asyncio.Event()
        self.none.set()

    def __enter__(self) -> None:
        self.count += 1
        self.none.clear()

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        if not self.count:
            self.none.set()


class PassedOn:
    """A request that a peer answers; this node is done with it, as far as it counts, once an answer begins."""

    def __init__(self, unanswered: _Count) -> None:
        self._unanswered = unanswered
        self._counts = True
        unanswered.__enter__()

    def is_over(self) -> None:
        """Its answer has begun, or there is none; once is enough."""
        if self._counts:
            self._counts = False
            self._unanswered.__exit__()


class OpenCalls:
    """Those of one node.

    Calls of the modern era are waited for, and so is the beginning of what peers answer: a client that has nothing of
    an answer cannot come back for it. Subscriptions are ended.
    """

    def __init__(self) -> None:
        self._calls = _Count()
        self._unanswered = _Count()
        self._ends: dict[object, Callable[[], Awaitable[None]]] = {}

    @property
    def calls(self) -> int:
        return self._calls.count

    @property
    def subscriptions(self) -> int:
        return len(self._ends)

    def call(self) -> AbstractContextManager[None]:
        """Within this context a call is being answered."""
        return self._calls

    def passed_on(self) -> PassedOn:
        """There is one more that a peer answers."""
        return PassedOn(self._unanswered)

    @contextmanager
    def subscription(self, end: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """Within this context a stream is open that `end` ends."""
        key = object()
        self._ends[key] = end
        try:
            yield
        finally:
            del self._ends[key]

    async def end_subscriptions(self) -> None:
        """End them all; those who listened may listen elsewhere."""

        async def end_one(end: Callable[[], Awaitable[None]]) -> None:
            async with asyncio.timeout(_END_SECONDS):
                await end()

        await asyncio.gather(*map(end_one, self._ends.values()), return_exceptions=True)

    async def wait(self, seconds: float) -> bool:
        """Wait for the calls to end, at most this long; returns whether they have."""
        return await _wait(self._calls, seconds)

    async def wait_for_peers(self, seconds: float) -> bool:
        """Wait until no peer has an answer yet to begin, at most this long; returns whether that is so."""
        return await _wait(self._unanswered, seconds)


async def _wait(calls: _Count, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await calls.none.wait()
    except TimeoutError:
        return False
    return True
