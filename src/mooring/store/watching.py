"""What is asked beside all else, now and then, and one question at a time: nobody waits for it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

_EVERY_SECONDS: Final = 1.0


class Watching(ABC):
    """Asks in the background, at most once a second.

    Args:
        now: seconds, by a steady clock.
    """

    _NAME: ClassVar[str]

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._due = 0.0
        # While somebody is asked; one that is frozen takes its time.
        self._asking: asyncio.Task[None] | None = None

    @property
    @abstractmethod
    def _has_whom_to_ask(self) -> bool:
        """Not of every kind of Redis."""

    @abstractmethod
    async def _ask(self) -> None:
        """Ask once."""

    def glance(self) -> None:
        """Ask, if that is due. Nobody waits for it."""
        if self._has_whom_to_ask and self._asking is None and self._now() >= self._due:
            self._due = self._now() + _EVERY_SECONDS
            self._asking = asyncio.create_task(self._ask_once(), name=self._NAME)

    async def _ask_once(self) -> None:
        try:
            await self._ask()
        finally:
            self._asking = None

    async def aclose(self) -> None:
        """Ask nothing more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
