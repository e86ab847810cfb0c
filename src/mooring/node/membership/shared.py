"""One call for all who want its result at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Shared(Generic[_T]):
    """Calls `call` for however many ask.

    The result is never older than the asking: whoever asks while a call is under way shares the one after it. One that
    leaves takes nothing from the others.
    """

    def __init__(self, call: Callable[[], Awaitable[_T]]) -> None:
        self._call = call
        # The call that is under way, and the one that waits for its end.
        self._running: asyncio.Task[_T] | None = None
        self._following: asyncio.Task[_T] | None = None

    async def join(self) -> _T:
        """The result of the call that is under way, which ends after the asking, though it began before."""
        running = self._running
        return await (self() if running is None or running.done() else asyncio.shield(running))

    async def __call__(self) -> _T:
        if self._running is None:
            self._running = asyncio.create_task(self._run())
            return await asyncio.shield(self._running)
        if self._following is None:
            self._following = asyncio.create_task(self._run_after(self._running))
        return await asyncio.shield(self._following)

    async def _run_after(self, running: asyncio.Task[_T]) -> _T:
        await asyncio.wait([running])
        self._running, self._following = self._following, None
        return await self._run()

    async def _run(self) -> _T:
        try:
            return await self._call()
        finally:
            if self._following is None:  # else that one is about to begin, and whoever asks by then shares it
                self._running = None
