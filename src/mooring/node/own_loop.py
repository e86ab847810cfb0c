"""The event loop that a node runs in, for authors' code in threads: what it changes is changed there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

_Found = TypeVar("_Found")
_SECONDS: Final = 30.0
"""How long an author's thread waits for the event loop, which may be busy, or about to end."""


class OwnLoop:
    """Of one node; until it has started, whoever asks does everything at once."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def is_this_one(self) -> None:
        """The node has started in the loop that runs now."""
        self._loop = asyncio.get_running_loop()

    def do(self, do: Callable[[], object]) -> None:
        """Do it at once in the node's event loop, and soon from another thread."""
        if self._loop is None or self._runs_here():
            do()
        else:
            self._loop.call_soon_threadsafe(do)

    def ask(self, do: Callable[[], _Found]) -> _Found:
        """The same, and what comes of it: another thread waits for that.

        Raises:
            TimeoutError: the loop did not come to it.
        """
        if self._loop is None or self._runs_here():
            return do()

        async def done() -> _Found:
            return do()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(_SECONDS)

    def _runs_here(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False
