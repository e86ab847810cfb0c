"""The records that one node removes: what is still due, and what an old copy of the store would bring back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mooring.core.model import Written
from mooring.errors import StoreUnavailable
from mooring.store.base import Store

REMEMBERED_SECONDS: Final = 30.0
"""How long a store may take, while it is well, to have for good what it was told: Redis tells its replicas later."""


class Removals:
    """
    Args:
        now: seconds since the epoch.
    """

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        # Those that could not be removed when that was due, with the epoch to do it at.
        self._due: dict[str, int] = {}
        # Those that were removed lately, with that epoch and the time.
        self._done: dict[str, tuple[int, float]] = {}

    def is_due(self, session_id: str) -> bool:
        """Whether the record may still be there only because the store was away."""
        return session_id in self._due

    def opened(self, session_id: str) -> None:
        """What was to be removed, or was, is an earlier session of this name."""
        self._due.pop(session_id, None)
        self._done.pop(session_id, None)

    async def remove(self, session_id: str, epoch: int) -> bool:
        """Returns whether there was a record.

        Raises:
            StoreUnavailable: it is due with the next `catch_up`.
        """
        try:
            written = await self._store.delete_session(session_id, epoch)
        except (StoreUnavailable, asyncio.CancelledError):
            self._due[session_id] = epoch
            raise
        self._due.pop(session_id, None)
        self._done[session_id] = epoch, self._now()
        return written is Written.DONE

    async def catch_up(self) -> None:
        """Remove what is due.

        Raises:
            StoreUnavailable: the rest is due the next time.
        """
        for session_id, epoch in list(self._due.items()):
            await self.remove(session_id, epoch)

    async def repeat(self) -> None:
        """Remove again what was removed lately: the store may have gone back.

        Raises:
            StoreUnavailable: some of it was not.
        """
        await asyncio.gather(*(self._store.delete_session(name, epoch) for name, (epoch, _) in self._done.items()))

    def forget_old(self) -> None:
        """The store is well, and has had its time. While it is away this is not called: that time does not count."""
        long_ago = self._now() - REMEMBERED_SECONDS
        self._done = {name: (epoch, then) for name, (epoch, then) in self._done.items() if then > long_ago}
