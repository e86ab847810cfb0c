"""A request that is broken off here, since another node decides what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

_Served = TypeVar("_Served")


class CutOff:
    """Cancels the task that the app runs in, and tells that from a server that cancels it.

    Attributes:
        has_come: nothing more of it gets out.
    """

    __slots__ = ("_task", "has_come")

    def __init__(self) -> None:
        self.has_come = False
        self._task: asyncio.Task[Any] | None = None

    async def serve(self, work: Awaitable[_Served]) -> _Served | None:
        """Do this until it is done, or cut off.

        Raises:
            CancelledError: the server wanted it, whether or not it was cut off as well.
        """
        self._task = asyncio.current_task()
        try:
            served = await work
            if not self.has_come:
                return served
            await asyncio.sleep(0)  # where the app did not come to meet its cancellation, we do
        except asyncio.CancelledError:
            if not self.has_come:
                raise
        except Exception:  # what becomes of the app that is cancelled is its own affair
            if not self.has_come:
                raise
        if self._task is not None and self._task.uncancel():
            raise asyncio.CancelledError  # the server wanted it, too
        return None

    def cut(self) -> None:
        """Once: whoever says so again adds nothing to it."""
        if not self.has_come and self._task is not None:
            self.has_come = True
            self._task.cancel()
