"""What goes along with a session that is given to another node, by the author's word: a dump of what its app keeps.

what happens                                        so
--------------------------------------------------  ---------------------------------------------------------------
a node gives the session away (drain, rebalance)    it is dumped while nothing runs in it, and is on record
its next owner revives it                           it is loaded before anybody uses the session, and removed once it
                                                    lives there: a revival that fails has lost nothing
something still runs in it, or was cut off          it is said, and the session goes without it
dumping fails, takes too long or gives too much     the same
loading fails or takes too long                     the same: as after a crash, `on_revive` has to do
the shard stays after all                           the dump is removed (`mooring.node.dumps_on_record`)
a node dies                                         nothing is dumped, and no dump is loaded that is not of the
                                                    session's last life
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from mooring.core.ids import brief
from mooring.node.dumps_on_record import DumpsOnRecord
from mooring.node.membership.session import LocalSession, MovingSession, RevivedSession
from mooring.node.membership.sessions import LocalSessions
from mooring.settings import Settings
from mooring.store.base import Store

logger = logging.getLogger("mooring.moving")

Dump = Callable[[MovingSession], Awaitable[bytes | None] | bytes | None]
Load = Callable[[RevivedSession, bytes], Awaitable[None] | None]

NOT_TO_LOAD: Final = b""
"""Found of a session that goes on without it."""

_AT_ONCE: Final = 8
_PART_FOR_DUMPS: Final = 1 / 3
"""Of `hold_seconds`, for all sessions of a shard: what is asked of them waits for that, and for the store."""
_PART_FOR_LOAD: Final = 1 / 2
"""Of `hold_seconds`, for one session: a load that hangs is given up before the revival is."""


class _TooSlow(Exception):
    """The author's code took longer than it may."""


@dataclass(frozen=True, slots=True)
class _Carrier:
    dump: Dump
    load: Load


@dataclass(slots=True)
class _Without:
    """How many sessions of a shard go without, and why."""

    busy: int = 0
    late: int = 0


class Carrying:
    """That of one node."""

    def __init__(self, store: Store, settings: Settings, sessions: LocalSessions) -> None:
        self._store = store
        self._settings = settings
        self._sessions = sessions
        self._dumps = DumpsOnRecord(store, sessions, settings.session_ttl_seconds)
        self._carrier: _Carrier | None = None

    def use(self, dump: Dump, load: Load) -> None:
        self._carrier = _Carrier(dump, load)

    @property
    def doubtful_shards(self) -> set[str]:
        """Those of which dumps may be on record that are not to be loaded, or of which nobody knows whose they are."""
        return self._dumps.shards()

    async def pack(
        self, shard: str, sessions: Iterable[LocalSession], cut_off: Collection[str] = (), *, is_ours: bool = True
    ) -> None:
        """Have dumps of these on record, as far as nothing runs in them; and no other dumps of the shard.

        Args:
            is_ours: not where the shard may be another node's by now: then nothing is removed.
            cut_off: sessions whose requests were cut off: the app's work for them may go on.

        Raises:
            StoreUnavailable: not all of that is so.
            Fenced: the shard has another owner.
        """
        carrier = self._carrier
        if carrier is None:
            return
        async with self._dumps.turn(shard):
            before, without = self._dumps.of(shard), _Without()
            give_up = asyncio.get_running_loop().time() + self._settings.hold_seconds * _PART_FOR_DUMPS
            room = asyncio.Semaphore(_AT_ONCE)

            async def one(session: LocalSession) -> None:
                async with room:
                    if session.id in cut_off or session.is_busy(math.inf):
                        without.busy += 1
                    elif self._can_come_back(session):
                        await self._pack_one(carrier, session, give_up, without)

            try:
                async with asyncio.TaskGroup() as group:  # where one fails, none goes on behind our back
                    for session in sessions:
                        group.create_task(one(session))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            finally:
                self._say(shard, without)
            if is_ours:
                await self._dumps.remove(before)

    def gave(self, shard: str) -> None:
        """It is another node's, and what was dumped with it."""
        self._dumps.forget(shard)

    def unpack_soon(self, shard: str) -> None:
        """The shard stays here, and its sessions go on: what was dumped so far is old from now on."""
        if dumps := self._dumps.of(shard):
            self._sessions.run_errand(self._dumps.try_to_remove(dumps))

    async def find(self, session: LocalSession, *, was_given: bool) -> bytes | None:
        """What is on record for a session that is being revived; `NOT_TO_LOAD` where it is old; None for nothing.

        Raises:
            StoreUnavailable: nobody knows.
        """
        if self._carrier is None:
            return None
        found = await self._store.journal.carried(session.id)
        if found is None:
            return None
        incarnation, data = found
        is_of_last_life = incarnation == session.incarnation - 1 and not self._dumps.has(session.id)
        return data if was_given and is_of_last_life else NOT_TO_LOAD

    async def load(self, revived: RevivedSession, data: bytes) -> bool:
        """Give its author what was found; returns whether that went well."""
        if self._carrier is None or data == NOT_TO_LOAD:
            return False
        load, name = self._carrier.load, brief(revived.id)
        seconds = min(self._settings.carry_seconds, self._settings.hold_seconds * _PART_FOR_LOAD)
        try:
            await _in_time(lambda: load(revived, data), seconds)
        except _TooSlow:
            logger.warning(
                "session %s goes on without what was dumped of it: load takes more than %g s (carry_seconds, and half "
                "of hold_seconds)",
                name,
                seconds,
            )
            return False
        except Exception:
            logger.exception("session %s goes on without what was dumped of it: load failed", name)
            return False
        return True

    async def moved_in(self, session: LocalSession) -> None:
        """It lives here: what was found of it is loaded no more."""
        await self._dumps.loaded(session)

    def _can_come_back(self, session: LocalSession) -> bool:
        return bool(session.initialize) and self._settings.revives(session.endpoint)

    def _lives(self, session: LocalSession) -> bool:
        return self._sessions.find(session.id) is session

    async def _pack_one(self, carrier: _Carrier, session: LocalSession, give_up: float, without: _Without) -> None:
        left = give_up - asyncio.get_running_loop().time()
        if not self._lives(session):
            return
        if left <= 0:
            without.late += 1
            return
        try:
            data = await self._dumped(carrier, session, left)
        except _TooSlow:
            without.late += 1
            return
        if data and self._lives(session) and not await self._dumps.write(session, data) and self._lives(session):
            logger.warning(
                "session %s moves without what its app keeps of it: Redis has no record of it; look whether it drops "
                "keys (maxmemory-policy)",
                brief(session.id),
            )

    async def _dumped(self, carrier: _Carrier, session: LocalSession, left: float) -> bytes | None:
        """
        Raises:
            _TooSlow: no time was left for all of the shard's.
        """
        name, seconds = brief(session.id), self._settings.carry_seconds
        moving = MovingSession(session.id, session.principal)
        try:
            data = await _in_time(lambda: carrier.dump(moving), min(seconds, left))
        except _TooSlow:
            if left <= seconds:
                raise
            logger.warning(
                "session %s moves without what its app keeps of it: dump takes more than %g s (carry_seconds)",
                name,
                seconds,
            )
            return None
        except Exception:
            logger.exception("session %s moves without what its app keeps of it: dump failed", name)
            return None
        if isinstance(data, bytearray | memoryview):
            data = bytes(data)
        if not isinstance(data, bytes | None):
            logger.error("session %s moves without what its app keeps of it: let dump return bytes or None", name)
            return None
        if data is not None and len(data) > self._settings.carry_bytes:
            logger.warning(
                "session %s moves without what its app keeps of it: a dump of %d bytes is more than %d (carry_bytes)",
                name,
                len(data),
                self._settings.carry_bytes,
            )
            return None
        return data

    def _say(self, shard: str, without: _Without) -> None:
        if without.busy:
            logger.warning(
                "%d sessions of shard %s move without what their app keeps of them: a call was cut off in each, and "
                "may still run (drain_seconds)",
                without.busy,
                shard,
            )
        if without.late:
            logger.warning(
                "%d sessions of shard %s move without what their app keeps of them: to dump all of them takes more "
                "than %g s, a third of hold_seconds; let dump be faster, or have more shards",
                without.late,
                shard,
                self._settings.hold_seconds * _PART_FOR_DUMPS,
            )


async def _in_time(call: Callable[[], Any], seconds: float) -> Any:
    """What the author's code answers.

    Raises:
        _TooSlow: it does not in time. All else that it raises is its own, a cancellation of something of its own too.
    """
    try:
        async with asyncio.timeout(seconds) as bound:
            outcome = call()
            return await outcome if inspect.isawaitable(outcome) else outcome
    except TimeoutError:
        if bound.expired():
            raise _TooSlow from None
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("what it waited for was cancelled") from error
