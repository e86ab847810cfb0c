"""The requests of the modern era that are being answered on this node, so that it ends no sooner than they do."""

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


class OpenCalls:
    """Those of one node: calls, which are waited for, and subscriptions, which are ended."""

    def __init__(self) -> None:
        self._calls = _Count()
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
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._calls.none.wait()
        except TimeoutError:
            return False
        return True
