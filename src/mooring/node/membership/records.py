"""What the store still has to learn of this node's sessions: told with the heartbeat, in batches.

    what                                        when it is told
    ------------------------------------------  -----------------------------------------------------------------
    a session was opened, or taken over         at once, or else as soon as the store is back
    it was seen                                 at most once every `touch_seconds`
    it was closed                               at once, or else as soon as the store is back
    the store may have lost what it was told    every record again, and every removal of the last half minute

Every record again may be many: what was written stays written when the store fails on the way, but for what it may not
have had for good by then; and where there are many, each node begins at its own moment.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from mooring.core.ids import brief
from mooring.core.kept_state import NOTHING
from mooring.core.model import Touch, Written
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.few_lines import FewLines
from mooring.node.membership.removals import REMEMBERED_SECONDS, Removals
from mooring.node.membership.session import LocalSession
from mooring.store.base import Store
from mooring.store.journal import StateChange

logger = logging.getLogger("mooring.sessions")

_BATCH: Final = 500
_SPREAD_SECONDS: Final = 1.0
"""Within which nodes with more than one batch begin to write everything again."""


class Records:
    """
    Args:
        of: those that live here, by id, and handles that something is kept of; `LocalSessions` keeps both.
        now: seconds since the epoch.

    Attributes:
        when_written_again: called once every record was: what hangs on them may be missing.
    """

    def __init__(
        self,
        store: Store,
        node_id: str,
        ttl_seconds: int,
        touch_seconds: float,
        of: Sequence[Mapping[str, LocalSession]],
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._node_id = node_id
        self._ttl_seconds = ttl_seconds
        self._touch_seconds = min(touch_seconds, ttl_seconds / 2)  # or a record would end while its session is used
        self._of = of
        self._now = now
        self._removals = Removals(store, now)
        self.when_written_again: Callable[[], None] = lambda: None
        # The sessions whose records are due, in the order in which they are written: a set that has one.
        self._due: dict[str, None] = {}
        # Those of them that came into it while they may have been on their way as they were before.
        self._cut_short: set[str] = set()
        # Those of them that the app has ended meanwhile: their next requests need the record.
        self._let_go: dict[str, LocalSession] = {}
        # Whether all of them are being written again, and when that begins; and what was written of them lately.
        self._is_writing_all = False
        self._begins_at = 0.0
        self._written: deque[tuple[float, str]] = deque()
        # Whether a write failed since all was last written: whoever answers next may lack what was written before.
        self._is_in_doubt = False
        # Shards for which a write was refused, and which were not fenced since: each is told of once.
        self._refused_shards: set[str] = set()
        self._few = FewLines()

    def is_removal_due(self, session_id: str) -> bool:
        """Whether the record may still be there only because the store was away."""
        return self._removals.is_due(session_id)

    def is_write_due(self, session_id: str) -> bool:
        """Whether the store may not have the record: it is written for as long as the session lives here."""
        return session_id in self._due

    def fenced(self, shard: str) -> None:
        """Its records are another node's."""
        self._let_go = {name: session for name, session in self._let_go.items() if session.shard != shard}
        self._refused_shards.discard(shard)

    async def opened(self, session: LocalSession) -> bool:
        """Its record is written when this returns, unless the store is away; returns whether it was not refused."""
        self._removals.opened(session.id)
        self._let_go.pop(session.id, None)
        return await self.write(session)

    async def write(self, session: LocalSession) -> bool:
        """The same for one that was there before."""
        written = Written.DONE
        try:
            written = await self._store.save_session(session.record(self._node_id), self._ttl_seconds)
        except StoreUnavailable as error:
            self._due[session.id] = None
            self._is_in_doubt = True
            text = "session %s is not on record until the store is back: %s"
            self._few.say(logger, logging.WARNING, text, brief(session.id), error)
        except asyncio.CancelledError:  # whoever asked has left, and the session may stay
            self._due[session.id] = None
            self._cut_short.add(session.id)
            raise
        else:
            self._note_refusals({session.id: written})
            if self._is_writing_all:  # what the store forgets before that is done is not noticed by itself
                self._due[session.id] = None
        return written is not Written.REFUSED

    async def seen(self, session: LocalSession) -> None:
        """Renew the record of a session that is let go: as well as the store can now, for it is merely older else.

        One that is due is written when the store is back, as if the session still lived here.
        """
        if session.id in self._due:
            self._let_go[session.id] = session
            return
        with suppress(StoreUnavailable):
            touch = Touch(session.id, session.epoch, session.last_seen)
            await self._store.touch_sessions([touch], self._ttl_seconds)

    async def remove(self, session_id: str, epoch: int) -> bool:
        """Remove a record now, or when the store is back; returns whether there was one.

        Args:
            epoch: at which its shard is held here.
        """
        self._let_go.pop(session_id, None)
        try:
            return await self._removals.remove(session_id, epoch)
        except StoreUnavailable:
            self._is_in_doubt = True
            return False

    def write_all_again(self, *, from_the_start: bool) -> None:
        """The store may have lost some of it; with the next `flush` it gets everything.

        Args:
            from_the_start: it has lost something since; else what was written on the way stays written.
        """
        self._is_in_doubt = False
        if self._is_writing_all and not from_the_start:
            return
        self._is_writing_all = True
        self._due = {session.id: None for session in self._all()}
        self._written.clear()
        is_much = len(self._due) > _BATCH
        self._begins_at = self._now() + _SPREAD_SECONDS * secrets.randbelow(1000) / 1000 if is_much else 0.0

    async def flush(self) -> None:
        """Tell the store what it does not know yet.

        Raises:
            StoreUnavailable: what was not told is kept for the next time.
        """
        await self._removals.catch_up()
        if self._is_in_doubt:
            self.write_all_again(from_the_start=False)
        await self._write_due()
        await self._touch()
        self._removals.forget_old()

    async def _write_due(self) -> None:
        if self._is_writing_all and self._now() < self._begins_at:
            return
        due: dict[str, None] | None = None
        doubtful: dict[str, None] = {}  # since they were written, while others of their batch were
        try:
            while due is not self._due:  # as where the store lost something again in the meantime
                due = self._due
                if self._is_writing_all:
                    await self._removals.repeat()
                while due is self._due and (batch := list(islice(due, _BATCH))):
                    written = list(filter(None, map(self._find, batch)))
                    self._cut_short.difference_update(batch)
                    await self._save(written)
                    for name in set(batch) - self._cut_short:
                        due.pop(name, None)
                        self._let_go.pop(name, None)
                    doubtful.update({session.id: None for session in written if session.state.is_in_doubt})
                    if self._is_writing_all:
                        self._remember(batch)
        except StoreUnavailable:
            self._due.update(dict.fromkeys(name for _, name in self._written))
            self._written.clear()
            raise
        finally:
            self._due.update(doubtful)
        was_writing_all, self._is_writing_all = self._is_writing_all, False
        self._written.clear()
        if was_writing_all:
            self.when_written_again()

    def _remember(self, batch: list[str]) -> None:
        now = self._now()
        self._written.extend((now, name) for name in batch)
        while self._written[0][0] < now - REMEMBERED_SECONDS:
            self._written.popleft()

    async def _touch(self) -> None:
        due = {
            session.id: session for session in self._all() if session.last_seen - session.touched >= self._touch_seconds
        }
        if not due:
            return
        touches = [Touch(session.id, session.epoch, session.last_seen) for session in due.values()]
        untouched = await self._store.touch_sessions(touches, self._ttl_seconds)
        self._note_refusals(untouched)
        missing = [session_id for session_id, what in untouched.items() if what is Written.MISSING]
        await self._save([due[session_id] for session_id in missing if self._find(session_id) is not None])
        for session in due.values():
            session.touched = session.last_seen

    async def _save(self, sessions: list[LocalSession]) -> None:
        # Each as it is when its turn comes: it may be in its next life by then.
        records = ((self._find(session.id) or session).record(self._node_id) for session in sessions)
        self._note_refusals(await self._store.save_sessions(records, self._ttl_seconds))
        for session in sessions:
            if session.state.kept not in (None, NOTHING) or session.state.is_in_doubt:
                async with session.state_turn:
                    await self._save_state(session)

    def write_later(self, session: LocalSession) -> None:
        """With the next `flush`: it is not known what is on record."""
        self._due[session.id] = None

    async def write_due_of(self, sessions: Iterable[LocalSession]) -> None:
        """Of these the store has the records as they are here, once this returns: whose they are, and which life it is.

        Raises:
            StoreUnavailable: it may not.
        """
        due = [session for session in sessions if session.id in self._due]
        if due:
            await self._save(due)

    async def make_sure(self, sessions: Iterable[LocalSession]) -> None:
        """What servers keep of these is on record as it is here, once this returns. Whoever asks holds their turns.

        Raises:
            StoreUnavailable: it may not be.
        """
        for session in sessions:
            if session.state.is_in_doubt:
                await self._save_state(session)

    async def _save_state(self, session: LocalSession) -> None:
        """What its server keeps, where the store may have lost it with the record, or may have something else."""
        kept = session.state.kept or NOTHING
        change = StateChange(kept, session.state.next_version())
        with suppress(Fenced):  # the record tells of that
            await self._store.journal.commit(session.id, session.epoch, change, 1.0, self._ttl_seconds)
            session.state.is_kept(kept)

    def _all(self) -> Iterator[LocalSession]:
        return (session for kept in (*self._of, self._let_go) for session in kept.values())

    def _find(self, session_id: str) -> LocalSession | None:
        return next((kept[session_id] for kept in (*self._of, self._let_go) if session_id in kept), None)

    def _note_refusals(self, written: Mapping[str, Written]) -> None:
        """Tell once of each shard that is another node's by now, as it seems: the heartbeat finds out, and fences.

        A session that was closed here meanwhile says nothing.
        """
        for session_id, what in written.items():
            session = self._find(session_id)
            if what is Written.REFUSED and session is not None and session.shard not in self._refused_shards:
                self._refused_shards.add(session.shard)
                logger.warning(
                    "the record of session %s was not written: it was removed, or shard %s has another owner "
                    "(`mooring status`)",
                    brief(session_id),
                    session.shard,
                )
