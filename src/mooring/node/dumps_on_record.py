"""The dumps that this node has on record, until it knows what becomes of each.

what became of the session's shard      so
--------------------------------------  ------------------------------------------------------------------------
it was given                            the dumps are the next owner's: they are forgotten here
it stays                                they are removed, since their sessions go on and change. Where that fails it is
                                        tried again, and the shard is not given before it is done
nobody knows, for the store was silent  they are left alone until that is known: the next owner may need them
it came here, and a dump was loaded     that one is removed, once its session lives here, in the same way

A dump names the life that it is of, and is loaded in the next one alone. That is not enough: a session that stays goes
on in the same life, and a life of which the store did not hear has the number of the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from mooring.core.ids import brief
from mooring.core.model import Written
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store.base import Store

logger = logging.getLogger("mooring.moving")

_NOTHING: Final = b""


@dataclass(frozen=True, slots=True, eq=False)
class _Dump:
    """What may be on record of a session: each write makes another one, which tells them apart.

    Attributes:
        epoch: the session's: a later one would fence it, where its shard was claimed anew since.
    """

    session_id: str
    shard: str
    epoch: int


class DumpsOnRecord:
    """Those of one node.

    Args:
        ttl_seconds: how long the store keeps them.
    """

    def __init__(self, store: Store, sessions: LocalSessions, ttl_seconds: int) -> None:
        self._store = store
        self._sessions = sessions
        self._ttl_seconds = ttl_seconds
        # By session id, from before a dump is written until it is removed, or another node's.
        self._dumps: dict[str, _Dump] = {}
        # By shard, while anybody has its turn or waits for it.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def turn(self, shard: str) -> asyncio.Lock:
        """Held by whoever writes or removes dumps of a shard: what is written later is not removed for earlier ones."""
        return self._turns.setdefault(shard, asyncio.Lock())

    def shards(self) -> set[str]:
        """Those of which there may be any."""
        return {dump.shard for dump in self._dumps.values()}

    def of(self, shard: str) -> list[_Dump]:
        return [dump for dump in self._dumps.values() if dump.shard == shard]

    def has(self, session_id: str) -> bool:
        """Whether there may be one of this session, which is not to be loaded here."""
        return session_id in self._dumps

    def forget(self, shard: str) -> None:
        """They are another node's."""
        for dump in self.of(shard):
            del self._dumps[dump.session_id]

    async def write(self, session: LocalSession, data: bytes) -> bool:
        """Have this on record; returns whether it is: not where the session has no record, or has ended meanwhile.

        Raises:
            StoreUnavailable: nobody knows whether it is.
            Fenced: the session has another owner.
        """
        self._dumps[session.id] = _Dump(session.id, session.shard, session.epoch)
        written = await self._carry(session, data)
        if written is Written.MISSING:
            await self._sessions.records.write(session)
            written = await self._carry(session, data)
        if written is Written.REFUSED and self._sessions.find(session.id) is session:
            raise Fenced(f"writing what goes along with session {brief(session.id)}", is_missing=False)
        return written is Written.DONE

    async def remove(self, dumps: Collection[_Dump]) -> None:
        """Remove those of them in whose place nothing else was written.

        Raises:
            StoreUnavailable: some are still there, as far as is known; they are kept in mind.
        """
        outcomes = await asyncio.gather(*(self._remove(dump) for dump in dumps), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def try_to_remove(self, dumps: Collection[_Dump]) -> None:
        """The same in its turn, where it may fail: it is tried again later (`remove_old_dumps`)."""
        for shard in {dump.shard for dump in dumps}:
            async with self.turn(shard):
                try:
                    await self.remove([dump for dump in dumps if dump.shard == shard])
                except StoreUnavailable as error:
                    logger.warning(
                        "dumps of %d sessions of shard %s are still on record until the store answers: %s",
                        len(self.of(shard)),
                        shard,
                        error,
                    )

    async def loaded(self, session: LocalSession) -> None:
        """What was found of it is of no use any more: it lives here."""
        dump = self._dumps[session.id] = _Dump(session.id, session.shard, session.epoch)
        await self.try_to_remove([dump])

    async def _remove(self, dump: _Dump) -> None:
        if self._dumps.get(dump.session_id) is not dump:
            return
        # Where it is refused the session has ended or is another node's; where there is no record nobody revives it.
        await self._store.journal.carry(dump.session_id, dump.epoch, 0, _NOTHING, 1)
        if self._dumps.get(dump.session_id) is dump:
            del self._dumps[dump.session_id]

    async def _carry(self, session: LocalSession, data: bytes) -> Written:
        return await self._store.journal.carry(session.id, session.epoch, session.incarnation, data, self._ttl_seconds)
