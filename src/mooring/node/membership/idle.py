"""Sessions that nobody uses, though we hold a GET open for them: it keeps the app's own idle limit from ending them.

a session with such a GET, no listener, no request        so
--------------------------------------------------------  ---------------------------------------------------------
used within `idle_seconds`, or not on record              it stays
not used for longer                                       the app ends it; its record stays, and its next request
                                                          revives it
the same, but it cannot be revived, or the app takes no   the GET is closed: the app's own limit ends it, as without
DELETE                                                    us

For apps that keep nothing of a session in memory an operator may set `hibernate_seconds`. Then any session in which
nothing runs goes to sleep after that time: the app ends it, and all that is left of it here is the stream of a client
that listens. Its next request revives it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from mooring.core.ids import brief
from mooring.node.clock import passing_time
from mooring.node.membership import inner_ids
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.settings import Settings

logger = logging.getLogger("mooring.sessions")

_AT_ONCE: Final = 8
"""How many are ended at a time: it costs the app something, and what else is asked of it goes first."""
_END_SECONDS: Final = 30.0
"""How long the app may take for one."""


class IdleSessions:
    """Those of one node.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, sessions: LocalSessions, settings: Settings, now: Callable[[], float] = passing_time) -> None:
        self._sessions = sessions
        self._settings = settings
        self._now = now
        # Those that the app is ending.
        self._ending: set[str] = set()
        # Those whose turn comes, and how many are at work on them.
        self._due: list[LocalSession] = []
        self._working = 0

    def let_go(self) -> None:
        """Begin to end those that have been idle for too long; `LocalSessions.settle` waits for it."""
        now = self._now()
        self._due = [session for session in self._sessions.living() if self._ending_of(session, now) is not None]
        for _ in range(min(_AT_ONCE - self._working, len(self._due))):
            self._working += 1
            self._sessions.run_errand(self._work())

    async def _work(self) -> None:
        try:
            while self._due:
                session = self._due.pop()
                ending = self._ending_of(session, self._now())
                if ending is not None and self._sessions.find(session.id) is session:  # it may have been used meanwhile
                    self._ending.add(session.id)
                    await ending(session)
        finally:
            self._working -= 1

    def _ending_of(self, session: LocalSession, now: float) -> Callable[[LocalSession], Awaitable[None]] | None:
        """What is due for it; None while that is nothing."""
        if session.id in self._ending or self._sessions.records.is_write_due(session.id):
            return None
        if session.last_seen < now - self._settings.idle_seconds and session.is_idle:
            return self._end
        return self._put_to_sleep if self._may_sleep(session, now) else None

    async def _end(self, session: LocalSession) -> None:
        try:
            if not self._can_come_back(session) or not await self._ends(session):
                self._close_stream(session)
                return
            logger.info("session %s is idle: the app ended it, and its next request revives it", brief(session.id))
            await self._sessions.let_go(session)
        except Exception:
            logger.exception("the app failed to end session %s, which is idle", brief(session.id))
            self._close_stream(session)
        finally:
            self._ending.discard(session.id)

    def _close_stream(self, session: LocalSession) -> None:
        if session.standing is not None:  # the app may have ended it by itself meanwhile
            session.standing.close()

    def _may_sleep(self, session: LocalSession, now: float) -> bool:
        seconds = self._settings.hibernate_seconds
        if (
            seconds is None
            or session.is_wakeful
            or session.is_in_query
            or session.state.is_in_doubt
            or session.last_seen >= now - seconds
        ):
            return False
        own = 0 if session.standing is None else 1
        return len(session.running) <= own and self._can_come_back(session)

    async def _put_to_sleep(self, session: LocalSession) -> None:
        """A client that listens notices nothing: its stream stays, and goes on once the session is revived."""
        session.ends_as = "hibernated"
        standing, has_ended = session.standing, False
        if standing is not None:
            standing.let_go()
        try:
            has_ended = await self._ends(session)
        except Exception:
            logger.exception("the app failed to end session %s, which was to sleep", brief(session.id))
        finally:
            self._ending.discard(session.id)
        if has_ended:
            logger.debug("session %s sleeps: its next request revives it", brief(session.id))
            await self._sessions.let_go(session)
            return
        session.ends_as, session.is_wakeful = "ended", True
        logger.debug("session %s does not sleep: the app takes no DELETE", brief(session.id))
        if standing is not None and standing.stream is not None:
            await standing.stream.dismiss()  # its client comes back, and the app is asked anew

    def _can_come_back(self, session: LocalSession) -> bool:
        return bool(session.initialize) and self._settings.revives(session.endpoint)

    async def _ends(self, session: LocalSession) -> bool:
        session.is_told_to_end = True
        async with asyncio.timeout(_END_SECONDS):
            if await inner_ids.end(session.id):
                return True
            return session.end_in_app is not None and await session.end_in_app()
