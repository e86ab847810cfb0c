"""The sessions whose transports live in this process, and what the store still has to learn about them.

A request on a session touches memory only. What the store has to learn (that a session was seen, that its record
could not be written or removed when that was due) is collected here and written with the heartbeat, in batches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mooring.core.ids import brief
from mooring.core.model import SessionRecord, Touch, Written
from mooring.errors import StoreUnavailable
from mooring.node.membership import inner_ids
from mooring.node.membership.removals import Removals
from mooring.store.base import Store

logger = logging.getLogger("mooring.sessions")

_SETTLE_SECONDS: Final = 5.0

CloseHandler = Callable[["ClosedSession"], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class ClosedSession:
    """A session that ended on this node.

    Attributes:
        reason: `deleted` by its client, `ended` by the app (idle expiry, a crash, its own decision), or `fenced`:
            another node owns its shard now, and may go on with it.
    """

    id: str
    reason: str
    principal: str


class Running(Protocol):
    """A request of a session, while the app serves it."""

    def cut_off(self) -> None:
        """The session has another owner: let nothing more of it out, and stop the app's work on it."""


@dataclass(slots=True)
class LocalSession:
    """A session that lives here.

    Attributes:
        inner_id: the app's own name for it, which never leaves the node.
        epoch: that this node held its shard at when it was opened here: what is written for it is refused once another
            node holds a later one.
        principal: who it belongs to; "" for nobody, until somebody takes it over.
        endpoint: the path of the MCP endpoint that it was opened at, and is served at.
        is_guarded: the app asks before it serves a request of it (`inner_ids`).
        ends_as: the reason to give if it ends now.
        running: the requests that the app is serving.
        end_in_app: makes the app end it, where the app is not one that `inner_ids.end` can make do so.
    """

    id: str
    shard: str
    inner_id: str
    created: float
    last_seen: float
    touched: float
    principal: str
    protocol: str
    client: str
    initialize: bytes
    epoch: int = 0
    endpoint: str = ""
    is_guarded: bool = False
    ends_as: str = "ended"
    running: set[Running] = field(default_factory=set)
    end_in_app: Callable[[], Awaitable[bool]] | None = None

    @property
    def is_mapped(self) -> bool:
        """Whether the app names it differently."""
        return self.inner_id != self.id

    def record(self, node_id: str) -> SessionRecord:
        return SessionRecord(
            self.id,
            node_id,
            self.created,
            self.last_seen,
            self.principal,
            self.protocol,
            self.client,
            self.initialize,
            self.epoch,
        )


class LocalSessions:
    """Opens, finds and closes the sessions of one node.

    Args:
        ttl_seconds: of a record in the store.
        touch_seconds: a record is renewed at most this often.
        now: seconds since the epoch.
    """

    def __init__(
        self, store: Store, node_id: str, ttl_seconds: int, touch_seconds: float, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._node_id = node_id
        self._ttl_seconds = ttl_seconds
        self._touch_seconds = touch_seconds
        # By public id; `open` puts in, `_drop` takes out.
        self._sessions: dict[str, LocalSession] = {}
        # Opened while the store was away: their records are due with the next flush.
        self._unsaved: set[str] = set()
        self._removals = Removals(store, now)
        # Whether a write failed since all was last written: whoever answers next may lack what was written before.
        self._is_in_doubt = False
        # Shards for which a write was refused, and which were not fenced since: each is told of once.
        self._refused_shards: set[str] = set()
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
        self._removals.opened(session.id)
        await self._put_on_record(session)
        logger.debug("session %s opened by %s", brief(session.id), session.client)

    async def take_over(self, session: LocalSession, principal: str) -> None:
        """The session is this principal's at once; its record says so when this returns, unless the store is away."""
        session.principal = principal
        await self._put_on_record(session)

    async def close(self, session_id: str) -> None:
        """End the session: remove its record, then tell the handlers, once. On return the record is gone."""
        session = self._drop(session_id)
        if session is None:
            if session_id in self._closing:
                await self._closing[session_id].wait()
            return
        gone = self._closing[session_id] = asyncio.Event()
        try:
            await self.forget(session_id, session.epoch)
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
        return self._removals.is_due(session_id) or session_id in self._closing

    async def forget(self, session_id: str, epoch: int) -> bool:
        """Remove a record now, or when the store is back; returns whether there was one.

        Args:
            epoch: at which its shard is held here.
        """
        try:
            return await self._removals.remove(session_id, epoch)
        except StoreUnavailable:
            self._is_in_doubt = True
            return False

    def fence(self, shard: str) -> None:
        """End the sessions of a shard that has another owner now, here alone: their records are the new owner's.

        What runs is cut off before this returns. The app ends them and the handlers are told soon after: the heartbeat,
        which calls this, waits for none of them.
        """
        self._refused_shards.discard(shard)
        lost = [session for session in self._sessions.values() if session.shard == shard]
        for session in lost:
            del self._sessions[session.id]
            self._unsaved.discard(session.id)
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

    async def flush(self) -> None:
        """Tell the store what it does not know yet.

        Raises:
            StoreUnavailable: what was not told is kept for the next time.
        """
        await self._removals.catch_up()
        if self._is_in_doubt:
            await self.save_all()
        unsaved = [self._sessions[session_id] for session_id in self._unsaved if session_id in self._sessions]
        await self._save(unsaved)
        self._unsaved.difference_update(session.id for session in unsaved)
        await self._touch()
        self._removals.forget_old()

    async def save_all(self) -> None:
        """Write every record again, and remove what was removed, after the store may have lost some of it."""
        self._is_in_doubt = False
        try:
            await self._removals.repeat()
            await self._save(list(self._sessions.values()))
        except StoreUnavailable:
            self._is_in_doubt = True
            raise

    async def _put_on_record(self, session: LocalSession) -> None:
        try:
            written = await self._store.save_session(session.record(self._node_id), self._ttl_seconds)
        except StoreUnavailable as error:
            self._unsaved.add(session.id)
            self._is_in_doubt = True
            logger.warning("session %s is not on record until the store is back: %s", brief(session.id), error)
        else:
            self._note_refusals({session.id: written})

    async def _touch(self) -> None:
        due = {
            session.id: session
            for session in self._sessions.values()
            if session.last_seen - session.touched >= self._touch_seconds
        }
        if not due:
            return
        touches = [Touch(session.id, session.epoch, session.last_seen) for session in due.values()]
        untouched = await self._store.touch_sessions(touches, self._ttl_seconds)
        self._note_refusals(untouched)
        missing = [session_id for session_id, what in untouched.items() if what is Written.MISSING]
        await self._save([due[session_id] for session_id in missing if session_id in self._sessions])
        for session in due.values():
            session.touched = session.last_seen

    async def _save(self, sessions: list[LocalSession]) -> None:
        records = [session.record(self._node_id) for session in sessions]
        self._note_refusals(await self._store.save_sessions(records, self._ttl_seconds))

    def _note_refusals(self, written: Mapping[str, Written]) -> None:
        """Tell once of each shard that is another node's by now, as it seems: the heartbeat finds out, and fences.

        A session that was closed here meanwhile says nothing.
        """
        for session_id, what in written.items():
            session = self._sessions.get(session_id)
            if what is Written.REFUSED and session is not None and session.shard not in self._refused_shards:
                self._refused_shards.add(session.shard)
                logger.warning(
                    "the record of session %s was not written: it was removed, or shard %s has another owner",
                    brief(session_id),
                    session.shard,
                )

    def _drop(self, session_id: str) -> LocalSession | None:
        inner_ids.forget(session_id)
        self._unsaved.discard(session_id)
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
