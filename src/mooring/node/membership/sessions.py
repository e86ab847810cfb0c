"""The sessions whose transports live in this process.

A request on a session touches memory only. What the store has to learn of it is in `mooring.node.membership.records`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mooring.core.ids import brief
from mooring.node.membership import inner_ids
from mooring.node.membership.records import Records
from mooring.node.membership.session import ClosedSession, CloseHandler, LocalSession
from mooring.store.base import Store

logger = logging.getLogger("mooring.sessions")

_SETTLE_SECONDS: Final = 5.0


class LocalSessions:
    """Opens, finds and closes the sessions of one node.

    Args:
        ttl_seconds: of a record in the store.
        touch_seconds: a record is renewed at most this often.
        now: seconds since the epoch.

    Attributes:
        records: what the store has to learn of them.
    """

    def __init__(
        self, store: Store, node_id: str, ttl_seconds: int, touch_seconds: float, now: Callable[[], float] = time.time
    ) -> None:
        # By public id; `open` puts in, `_drop` takes out.
        self._sessions: dict[str, LocalSession] = {}
        self.records = Records(store, node_id, ttl_seconds, touch_seconds, self._sessions, now)
        # Set once the record is gone: another call that closes the same session waits for that.
        self._closing: dict[str, asyncio.Event] = {}
        # Tasks that nobody waits for, held here so that they are not collected; `settle` waits for them.
        self._errands: set[asyncio.Task[None]] = set()
        self._close_handlers: list[CloseHandler] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, session_id: str) -> LocalSession | None:
        return self._sessions.get(session_id)

    def add_close_handler(self, handler: CloseHandler) -> None:
        self._close_handlers.append(handler)

    async def open(self, session: LocalSession) -> None:
        """The session lives here from now on; its record is written before this returns, unless the store is away."""
        self._sessions[session.id] = session
        await self.records.opened(session)
        logger.debug("session %s opened by %s", brief(session.id), session.client)

    async def take_over(self, session: LocalSession, principal: str) -> None:
        """The session is this principal's at once; its record says so when this returns, unless the store is away."""
        session.principal = principal
        await self.records.write(session)

    async def close(self, session_id: str) -> None:
        """End the session: remove its record, then tell the handlers, once. On return the record is gone."""
        session = self._drop(session_id)
        if session is None:
            if session_id in self._closing:
                await self._closing[session_id].wait()
            return
        gone = self._closing[session_id] = asyncio.Event()
        try:
            await self.records.remove(session_id, session.epoch)
        finally:
            del self._closing[session_id]
            gone.set()
        await self._tell(session)

    def close_soon(self, session_id: str) -> None:
        """Close a session that nobody waits for; `settle` does."""
        self._run_errand(self.close(session_id))

    async def settle(self) -> None:
        """Wait for everything that is due soon, though not for ever: handlers are the author's code."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=_SETTLE_SECONDS)

    def has_ended(self, session_id: str) -> bool:
        """Whether the session is known to have ended, though its record may still be there."""
        return self.records.is_removal_due(session_id) or session_id in self._closing

    def fence(self, shard: str) -> None:
        """End the sessions of a shard that has another owner now, here alone: their records are the new owner's.

        What runs is cut off before this returns. The app ends them and the handlers are told soon after: the heartbeat,
        which calls this, waits for none of them.
        """
        self.records.fenced(shard)
        lost = [session for session in self._sessions.values() if session.shard == shard]
        for session in lost:
            del self._sessions[session.id]
            session.ends_as = "fenced"
            for request in list(session.running):
                request.cut_off()
            self._run_errand(self._end_fenced(session))
        if lost:
            logger.warning("shard %s has another owner: ended its %d sessions here", shard, len(lost))

    async def _end_fenced(self, session: LocalSession) -> None:
        has_ended = True
        try:
            if not await inner_ids.end(session.id) and session.end_in_app is not None:
                has_ended = await session.end_in_app()
        except Exception:
            logger.exception("the app failed to end session %s", brief(session.id))
        if not has_ended:
            logger.warning("the app goes on with session %s, which has another owner", brief(session.id))
        inner_ids.forget(session.id)
        await self._tell(session)

    def _drop(self, session_id: str) -> LocalSession | None:
        inner_ids.forget(session_id)
        return self._sessions.pop(session_id, None)

    def _run_errand(self, errand: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    async def _tell(self, session: LocalSession) -> None:
        closed = ClosedSession(session.id, session.ends_as, session.principal)
        for handler in self._close_handlers:
            try:
                told = handler(closed)
                if told is not None:
                    await told
            except Exception:
                logger.exception("on_close handler failed for session %s", brief(session.id))
