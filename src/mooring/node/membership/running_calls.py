"""What is on record of calls that run stays there for as long as they do: it is kept for a time, which begins anew.

So it is written again where the store may have lost it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession
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

    def are_due(self) -> None:
        """The store may have lost what it had of them."""
        self._due = 0.0

    async def keep(self) -> None:
        """Keep what is on record of them for longer, where that is due.

        Raises:
            StoreUnavailable: it is tried again the next time.
        """
        if self._now() < self._due:
            return
        running = [session for session in self._sessions.living() if session.is_busy(math.inf)]
        due, self._due = self._due, self._now() + self._keep_seconds / _RENEWALS
        try:
            await asyncio.gather(*map(self._keep, running))
        except StoreUnavailable:
            self._due = due
            raise

    async def _keep(self, session: LocalSession) -> None:
        """All that the calls are is said again: one that is answered meanwhile is settled, or forgotten after that."""
        calls = [call for request in session.running if (call := request.noted) is not None]
        await self._journal().note_calls(session.id, session.epoch, calls, self._keep_seconds)
