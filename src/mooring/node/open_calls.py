"""The requests of the modern era that are being answered on this node, so that it ends no sooner than they do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

_END_SECONDS: Final = 1.0
"""A client that reads nothing hears no end."""


class OpenCalls:
    """Those of one node: calls, which are waited for, and subscriptions, which are ended."""

    def __init__(self) -> None:
        self._calls = 0
        self._none = asyncio.Event()
        self._none.set()
        self._ends: dict[object, Callable[[], Awaitable[None]]] = {}

    @property
    def calls(self) -> int:
        return self._calls

    @property
    def subscriptions(self) -> int:
        return len(self._ends)

    @contextmanager
    def call(self) -> Iterator[None]:
        """Within this context a call is being answered."""
        self._calls += 1
        self._none.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._none.set()

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
                await self._none.wait()
        except TimeoutError:
            return False
        return True
