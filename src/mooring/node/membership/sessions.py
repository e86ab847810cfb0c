"""The sessions whose transports live in this process.

A request on a session touches memory only. What the store has to learn of it is in `mooring.node.membership.records`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from mooring.core.ids import brief
from mooring.node.clock import passing_time
from mooring.node.few_lines import FewLines
from mooring.node.membership import inner_ids
from mooring.node.membership.handles import LocalHandles
from mooring.node.membership.records import Records
from mooring.node.membership.session import ClosedSession, CloseHandler, LocalSession, RevivedSession, ReviveHandler
from mooring.store.base import Store

logger = logging.getLogger("mooring.sessions")

_About = TypeVar("_About", ClosedSession, RevivedSession)

_SETTLE_SECONDS: Final = 5.0
_FAILED: Final = "%s handler failed for %s"


class LocalSessions:
    """Opens, finds and closes the sessions of one node.

    Args:
        ttl_seconds: of a record in the store.
        touch_seconds: a record is renewed at most this often.
        now: seconds since the epoch.

    Attributes:
        records: what the store has to learn of them.
        handles: those of the modern era, which end with their shards as sessions do.
        when_gone: called with each session that does not live here any more.
        when_fenced: called with each shard that another node has by now.
        listened_to: names the shards of sessions that somebody listens to, though they may sleep.
    """

    def __init__(
        self,
        store: Store,
        node_id: str,
        ttl_seconds: int,
        touch_seconds: float,
        now: Callable[[], float] = passing_time,
    ) -> None:
        # By public id; `open` puts in, `_drop` takes out.
        self._sessions: dict[str, LocalSession] = {}
        self.handles = LocalHandles(self._tell_closed, self.run_errand, self._forget, self._renew, now)
        of = (self._sessions, self.handles.kept)
        self.records = Records(store, node_id, ttl_seconds, touch_seconds, of, now)
        # Set once the record is gone: another call that closes the same session waits for that.
        self._closing: dict[str, asyncio.Event] = {}
        # Tasks that nobody waits for, held here so that they are not collected; `settle` waits for them.
        self._errands: set[asyncio.Task[None]] = set()
        self.when_gone: Callable[[LocalSession], None] = lambda _: None
        self.when_fenced: Callable[[str], None] = lambda _: None
        self.listened_to: Callable[[], set[str]] = set
        self._works: set[asyncio.Task[Any]] = set()
        # The last life here of sessions that may have another one, as long as something is still at work on it.
        self._asleep: WeakValueDictionary[str, LocalSession] = WeakValueDictionary()
        # By session id, as long as the handlers hear of its end, or of several.
        self._telling: dict[str, set[asyncio.Task[None]]] = {}
        self._few = FewLines()
        self._close_handlers: list[CloseHandler] = []
        self._revive_handlers: list[ReviveHandler] = []

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, session_id: str) -> LocalSession | None:
        return self._sessions.get(session_id)

    def living(self) -> list[LocalSession]:
        """All that live here now."""
        return list(self._sessions.values())

    def shards(self) -> set[str]:
        """Those that have a session or a handle here, or one that sleeps and whose client listens."""
        return {session.shard for session in self._sessions.values()} | self.handles.shards() | self.listened_to()

    def add_close_handler(self, handler: CloseHandler) -> None:
        self._close_handlers.append(handler)

    def add_revive_handler(self, handler: ReviveHandler) -> None:
        self._revive_handlers.append(handler)

    async def open(self, session: LocalSession) -> bool:
        """The session lives here from now on; its record is written before this returns, unless the store is away.

        Returns whether it may: not where another node has its shard, or its record was removed meanwhile.
        """
        self._sessions[session.id] = session
        may_live = await self.records.opened(session)
        logger.debug("session %s opened by %s", brief(session.id), session.client)
        return may_live

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
        session.is_closed = True
        gone = self._closing[session_id] = asyncio.Event()
        try:
            await self.records.remove(session_id, session.epoch)
        finally:
            del self._closing[session_id]
            gone.set()
        await self._tell(session)

    async def let_go(self, session: LocalSession) -> None:
        """The app has ended the session by itself: the handlers are told soon, once. Its record stays, to revive it."""
        if self._sessions.get(session.id) is session:
            self._drop(session.id)
            self._asleep[session.id] = session
            self._tell_soon(session)
            await self.records.seen(session)

    async def supersede(self, session_id: str) -> bool:
        """The session is about to have its next life here: from now on its last one writes nothing of it.

        Returns whether there is a last one, which may have written until then.
        """
        last = self._asleep.pop(session_id, None)
        if last is not None:
            async with last.state_turn:
                last.is_superseded = True
        return last is not None

    def let_go_soon(self, session: LocalSession) -> None:
        """The same for what nobody waits for; `settle` does."""
        self.run_errand(self.let_go(session))

    def keep_working(self, work: asyncio.Task[Any]) -> None:
        """Hold the app's work that nobody waits for, until it ends or the node does."""
        self._works.add(work)
        work.add_done_callback(self._works.discard)

    def close_soon(self, session_id: str) -> None:
        """Close a session that nobody waits for; `settle` does."""
        self.run_errand(self.close(session_id))

    def abandon(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End soon what the app has opened for a session that does not come to live here."""
        self.run_errand(end())

    async def settle(self) -> None:
        """Wait for everything that is due soon, though not for ever: handlers are the author's code."""
        if self._errands:
            await asyncio.wait(self._errands, timeout=_SETTLE_SECONDS)

    async def end_work(self) -> None:
        """The node ends, and what the app does for clients that have left with it."""
        works = set(self._works)
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait(works, timeout=_SETTLE_SECONDS)

    async def _forget(self, kept: LocalSession) -> None:
        """What was kept of a handle goes off the record, now or when the store is back."""
        await self.records.remove(kept.id, kept.epoch)

    async def _renew(self, kept: LocalSession) -> None:
        await self.records.seen(kept)

    def has_ended(self, session_id: str) -> bool:
        """Whether the session, or the handle, is known to have ended, though its record may still be there."""
        is_going = session_id in self._closing or self.handles.has_ended(session_id)
        return is_going or self.records.is_removal_due(session_id)

    def fence(self, shard: str) -> None:
        """End the sessions of a shard that has another owner now, here alone: their records are the new owner's.

        What runs is cut off before this returns. The app ends them and the handlers are told soon after: the heartbeat,
        which calls this, waits for none of them.
        """
        self.records.fenced(shard)
        self.handles.fence(shard)
        self.when_fenced(shard)
        lost = [session for session in self._sessions.values() if session.shard == shard]
        for session in lost:
            self.fence_one(session)
        if lost:
            logger.warning(
                "shard %s has another owner: ended its %d sessions here; this node was silent for longer than its "
                "lease (lease_seconds, hang_seconds)",
                shard,
                len(lost),
            )

    def fence_one(self, session: LocalSession) -> None:
        """The same for a session that may not live here, whether or not it does by now."""
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
        session.ends_as = "fenced"
        for request in list(session.running):
            request.cut_off()
        self.when_gone(session)
        self._tell_soon(session, self._end_in_app)

    async def move_away(self, sessions: list[LocalSession]) -> None:
        """These are another node's now: the app ends them here, and the handlers are told; both soon, for `settle`."""
        for session in sessions:
            if self._sessions.get(session.id) is session:
                del self._sessions[session.id]
                session.ends_as = "moved"
                self.when_gone(session)
                self._tell_soon(session, self._end_in_app)

    async def _end_in_app(self, session: LocalSession) -> None:
        has_ended = True
        try:
            if not await inner_ids.end(session.id) and session.end_in_app is not None:
                has_ended = await session.end_in_app()
        except Exception:
            self._few.say(logger, logging.ERROR, "the app failed to end session %s", brief(session.id), exc_info=True)
        if not has_ended:
            self._few.say(
                logger,
                logging.WARNING,
                "the app goes on with session %s, which has another owner: it takes no DELETE; give up what it "
                "holds in on_close",
                brief(session.id),
            )

    def _drop(self, session_id: str) -> LocalSession | None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            inner_ids.forget(session_id)
            self.when_gone(session)
        return session

    def run_errand(self, errand: Coroutine[Any, Any, None]) -> None:
        """Do what nobody waits for; `settle` does."""
        self._errand(errand)

    def _errand(self, errand: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(errand)
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)
        return task

    async def until_told(self, session_id: str, seconds: float) -> None:
        """Wait until the handlers have heard of the session's end here: what they give up of it then is not its next
        life's. Not for ever, since they are the author's code.
        """
        if telling := self._telling.get(session_id):
            _, late = await asyncio.wait(telling, timeout=seconds)
            if late:
                self._few.say(
                    logger,
                    logging.WARNING,
                    "session %s goes on before on_close has returned for its last life here: let that be done in %g s, "
                    "or it may take what is the new one's",
                    brief(session_id),
                    seconds,
                )

    def _tell_soon(
        self, session: LocalSession, first: Callable[[LocalSession], Coroutine[Any, Any, None]] | None = None
    ) -> None:
        """Tell the handlers that it ended, once `first` is done."""

        async def tell() -> None:
            if first is not None:
                await first(session)
            await self._tell(session)

        task, telling = self._errand(tell()), self._telling.setdefault(session.id, set())

        def told(_: asyncio.Task[None]) -> None:
            telling.discard(task)
            if not telling and self._telling.get(session.id) is telling:
                del self._telling[session.id]

        telling.add(task)
        task.add_done_callback(told)

    async def _tell(self, session: LocalSession) -> None:
        await self._tell_closed(ClosedSession(session.id, session.ends_as, session.principal))

    async def _tell_closed(self, closed: ClosedSession) -> None:
        for handler in self._close_handlers:
            await _call(self._few, "on_close", handler, closed)

    def tell_deleted(self, session_id: str, principal: str) -> None:
        """A session that lived nowhere was ended by its client: whoever keeps something to revive it with hears so."""
        self.run_errand(self._tell_closed(ClosedSession(session_id, "deleted", principal)))

    async def tell_revived(self, revived: RevivedSession) -> None:
        """Let the author bring back what the app kept for it in memory."""
        for handler in self._revive_handlers:
            await _call(self._few, "on_revive", handler, revived)


async def _call(few: FewLines, name: str, handler: Callable[[_About], object], about: _About) -> None:
    """The author's code: what it raises is logged, the cancellation of something that it waited for as well."""
    try:
        told = handler(about)
        if inspect.isawaitable(told):  # a lambda returns whatever it comes to
            await told
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        few.say(logger, logging.ERROR, _FAILED, name, brief(about.id), exc_info=True)
    except Exception:
        few.say(logger, logging.ERROR, _FAILED, name, brief(about.id), exc_info=True)
