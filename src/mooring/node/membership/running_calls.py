"""What is on record of calls that run stays there for as long as they do: it is kept for a time, which begins anew."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from mooring.node.membership.sessions import LocalSessions
from mooring.store.journal import Journal

_RENEWALS: Final = 3
"""In that time: a store may be away for a while."""


class RunningCalls:
    """Those of one node.

    Args:
        keep_seconds: how long what is on record of a call is kept (`call_log_seconds`).
        now: seconds, by a clock that does not go back.
    """

    def __init__(
        self, sessions: LocalSessions, journal: Callable[[], Journal], keep_seconds: float, now: Callable[[], float]
    ) -> None:
        self._sessions = sessions
        self._journal = journal
        self._keep_seconds = keep_seconds
        self._now = now
        self._due = 0.0

    async def keep(self) -> None:
        """Keep what is on record of them for longer, where that is due.

        Raises:
            StoreUnavailable: it is tried again the next time.
        """
        if self._now() < self._due:
            return
        journal = self._journal()
        running = [session for session in self._sessions.living() if session.is_busy(math.inf)]
        await asyncio.gather(
            *(journal.note_calls(session.id, session.epoch, (), self._keep_seconds) for session in running)
        )
        self._due = self._now() + self._keep_seconds / _RENEWALS
