"""What goes along with a session that is given to another node, by the author's word: a dump of what its app keeps.

what happens                                        so
--------------------------------------------------  ---------------------------------------------------------------
a node gives the session away (drain, rebalance)    it is dumped while nothing runs in it, and is on record
its next owner revives it                           it is loaded before anybody uses the session; once that lives
                                                    there, the dump is removed
dumping fails, takes too long or gives too much     it is said, and the session goes without it
something ran in it that was cut off                the same: the app's work for it may go on
loading fails or takes too long                     the same: as after a crash, `on_revive` has to do
the shard stays after all                           the dump is old from now on: it is removed before the next one, at
                                                    the latest
nobody knows whether the shard stays                the same, but not before the next one: it may be the next owner's
a node dies                                         nothing is dumped, and no dump is loaded that is not of the
                                                    session's last life
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.model import Written
from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession, MovingSession, RevivedSession
from mooring.node.membership.sessions import LocalSessions
from mooring.settings import Settings
from mooring.store.base import Store

logger = logging.getLogger("mooring.moving")

Dump = Callable[[MovingSession], Awaitable[bytes | None] | bytes | None]
Load = Callable[[RevivedSession, bytes], Awaitable[None] | None]

_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class _Carrier:
    dump: Dump
    load: Load


class Carrying:
    """That of one node."""

    def __init__(self, store: Store, settings: Settings, sessions: LocalSessions) -> None:
        self._store = store
        self._settings = settings
        self._sessions = sessions
        self._carrier: _Carrier | None = None
        # Whose dump on record is older than they are, or may be; by id. And one who removes some of them at a time.
        self._outdated: dict[str, LocalSession] = {}
        self._removing = asyncio.Lock()

    def use(self, dump: Dump, load: Load) -> None:
        self._carrier = _Carrier(dump, load)

    async def pack(
        self, shard: str, sessions: Collection[LocalSession], cut_off: Collection[str] = ()
    ) -> list[LocalSession]:
        """Have dumps on record of the shard's living sessions, and no older ones.

        Args:
            cut_off: those in which something was cut off, and may still run in the app: they go without.

        Returns:
            those that have one now.

        Raises:
            StoreUnavailable: not all of that is sure, or the shard is not ours.
        """
        carrier = self._carrier
        if carrier is None:
            return []
        await self._remove_outdated(shard)
        now = time.monotonic()
        quiet = [one for one in sessions if one.id not in cut_off and not one.is_busy(now) and self._can_go_on(one)]
        if cut_off:
            logger.warning(
                "%d sessions of shard %s move without what their app keeps of them: calls still ran in them, and were "
                "cut off (drain_seconds)",
                len(cut_off),
                shard,
            )
        packed, late = list[LocalSession](), list[LocalSession]()
        give_up = now + max(self._settings.carry_seconds, self._settings.hold_seconds / 4)
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(session: LocalSession) -> None:
            async with room:
                left = give_up - time.monotonic()
                if left <= 0:
                    late.append(session)
                    return
                data = await self._dumped(carrier, session, min(left, self._settings.carry_seconds))
                if data and self._sessions.find(session.id) is session:
                    packed.append(session)
                    if not await self._write(session, data):
                        packed.remove(session)

        is_done = False
        try:
            outcomes = await asyncio.gather(*map(one, quiet), return_exceptions=True)
            for error in filter(None, outcomes):
                raise error
            is_done = True
        finally:
            if not is_done:
                self.stays(packed, is_sure=True)
        if late:
            logger.warning(
                "%d sessions of shard %s move without what their app keeps of them: all that is dumped of a shard may "
                "take %g s (carry_seconds, hold_seconds)",
                len(late),
                shard,
                give_up - now,
            )
        return packed

    def stays(self, sessions: Iterable[LocalSession], *, is_sure: bool) -> None:
        """These go on here after all: what was dumped of them is old from now on.

        Args:
            is_sure: else their shard may have another owner, who has yet to load it.
        """
        outdated = {session.id: session for session in sessions}
        if outdated:
            self._outdated |= outdated
            if is_sure:
                self._sessions.run_errand(self._try_to_remove(outdated))

    async def load(self, session: LocalSession, revived: RevivedSession, *, was_given: bool) -> bool | None:
        """Give its author what was dumped, if that is of the session's last life.

        Returns:
            whether that went well; None where nothing was dumped.

        Raises:
            StoreUnavailable: nobody knows whether there is any.
        """
        carrier = self._carrier
        if carrier is None or not was_given:
            return None
        found = await self._store.journal.carried(session.id)
        if not found:
            return None
        incarnation, data = found
        if incarnation != session.incarnation - 1:
            return False
        seconds = self._settings.carry_seconds
        if self._settings.hold_seconds:  # before whoever waits for the session is sent away
            seconds = min(seconds, self._settings.hold_seconds / 2)
        try:
            async with asyncio.timeout(seconds):
                await _told(carrier.load(revived, data))
        except TimeoutError:
            logger.warning(
                "session %s goes on without what was dumped of it: load takes more than %g s (carry_seconds, "
                "hold_seconds)",
                brief(session.id),
                seconds,
            )
        except Exception:
            logger.exception("session %s goes on without what was dumped of it: load failed", brief(session.id))
        else:
            return True
        return False

    async def lives(self, session: LocalSession) -> None:
        """A session of which something was dumped lives here, and its record says so: no later life loads that."""
        self._outdated[session.id] = session
        await self._try_to_remove({session.id: session})

    def _can_go_on(self, session: LocalSession) -> bool:
        """Whether a next owner can revive it."""
        return bool(session.initialize) and self._settings.revives(session.endpoint)

    async def _try_to_remove(self, outdated: Mapping[str, LocalSession]) -> None:
        try:
            await self._remove(outdated)
        except StoreUnavailable as error:
            logger.warning("what was dumped of %d sessions is still on record: %s", len(outdated), error)

    async def _remove_outdated(self, shard: str) -> None:
        await self._remove({name: session for name, session in self._outdated.items() if session.shard == shard})

    async def _remove(self, outdated: Mapping[str, LocalSession]) -> None:
        async with self._removing:
            for name, session in outdated.items():
                if self._outdated.get(name) is session:
                    await self._carry(session, b"")
                    self._outdated.pop(name, None)

    async def _dumped(self, carrier: _Carrier, session: LocalSession, seconds: float) -> bytes:
        name, limit = brief(session.id), self._settings.carry_bytes
        try:
            async with asyncio.timeout(seconds):
                data = await _told(carrier.dump(MovingSession(session.id, session.principal)))
        except TimeoutError:
            logger.warning(
                "session %s moves without what its app keeps of it: dump takes more than %g s (carry_seconds)",
                name,
                seconds,
            )
            return b""
        except Exception:
            logger.exception("session %s moves without what its app keeps of it: dump failed", name)
            return b""
        if data is None:
            return b""
        if isinstance(data, bytearray | memoryview):
            data = bytes(data)
        if not isinstance(data, bytes):
            logger.error("session %s moves without what its app keeps of it: let dump return bytes or None", name)
            return b""
        if len(data) > limit:
            logger.warning(
                "session %s moves without what its app keeps of it: a dump of %d bytes is more than %d (carry_bytes)",
                name,
                len(data),
                limit,
            )
            return b""
        return data

    async def _write(self, session: LocalSession, data: bytes) -> bool:
        """Whether it is on record with the session, which may have ended meanwhile.

        Raises:
            StoreUnavailable: nobody knows, or another node owns the session.
        """
        written = await self._carry(session, data)
        if written is Written.MISSING and self._sessions.find(session.id) is session:
            await self._sessions.records.write(session)  # the store lost it, or has not heard of it yet
            written = await self._carry(session, data)
        if written is Written.REFUSED:
            raise StoreUnavailable(f"session {brief(session.id)} seems to be another node's by now")
        return written is Written.DONE

    async def _carry(self, session: LocalSession, data: bytes) -> Written:
        seconds = self._settings.session_ttl_seconds
        return await self._store.journal.carry(session.id, session.epoch, session.incarnation, data, seconds)


async def _told(outcome: Any) -> Any:
    return await outcome if inspect.isawaitable(outcome) else outcome
