"""What goes along with a session that is given to another node, by the author's word: a dump of what its app keeps.

what happens                                        so
--------------------------------------------------  ---------------------------------------------------------------
a node gives the session away (drain, rebalance)    it is dumped while nothing runs in it, and is on record
its next owner revives it                           it is loaded, once, before anybody uses the session
dumping fails, takes too long or gives too much     it is said, and the session goes without it
loading fails or takes too long                     the same: as after a crash, `on_revive` has to do
the shard stays after all                           the dump is removed
a node dies                                         nothing is dumped, and no dump is loaded that is not of the
                                                    session's last life
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.model import Written
from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession, MovingSession, RevivedSession
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

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._carrier: _Carrier | None = None

    def use(self, dump: Dump, load: Load) -> None:
        self._carrier = _Carrier(dump, load)

    async def pack(self, sessions: Iterable[LocalSession]) -> None:
        """Have dumps of these on record, in which nothing runs.

        Raises:
            StoreUnavailable: not all of them are.
        """
        carrier = self._carrier
        if carrier is None:
            return
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(session: LocalSession) -> None:
            async with room:
                await self._write(session, await self._dumped(carrier, session))

        await asyncio.gather(*(one(session) for session in sessions))

    async def unpack(self, sessions: Iterable[LocalSession]) -> None:
        """These stay here after all, and go on: what was dumped of them is old from now on."""
        if self._carrier is None:
            return
        for session in sessions:
            try:
                await self._write(session, b"")
            except StoreUnavailable as error:
                logger.warning("what was dumped of session %s is still on record: %s", brief(session.id), error)

    async def load(self, session: LocalSession, revived: RevivedSession, *, was_given: bool) -> bool:
        """Give its author what was dumped, if that is of the session's last life; returns whether that went well.

        Raises:
            StoreUnavailable: nobody knows whether there is any.
        """
        carrier = self._carrier
        if carrier is None or not was_given:
            return False
        journal = self._store.journal
        found = await journal.carried(session.id)
        if not found:
            return False
        if await journal.carry(session.id, session.epoch, 0, b"", 1) is not Written.DONE:
            return False
        incarnation, data = found
        if incarnation != session.incarnation - 1:
            return False
        try:
            async with asyncio.timeout(self._settings.carry_seconds):
                await _told(carrier.load(revived, data))
        except TimeoutError:
            logger.warning(
                "session %s goes on without what was dumped of it: load takes more than %g s (carry_seconds)",
                brief(session.id),
                self._settings.carry_seconds,
            )
        except Exception:
            logger.exception("session %s goes on without what was dumped of it: load failed", brief(session.id))
        else:
            return True
        return False

    async def _dumped(self, carrier: _Carrier, session: LocalSession) -> bytes:
        name, limit = brief(session.id), self._settings.carry_bytes
        try:
            async with asyncio.timeout(self._settings.carry_seconds):
                data = await _told(carrier.dump(MovingSession(session.id, session.principal)))
        except TimeoutError:
            logger.warning(
                "session %s moves without what its app keeps of it: dump takes more than %g s (carry_seconds)",
                name,
                self._settings.carry_seconds,
            )
            return b""
        except Exception:
            logger.exception("session %s moves without what its app keeps of it: dump failed", name)
            return b""
        if data is None:
            return b""
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

    async def _write(self, session: LocalSession, data: bytes) -> None:
        seconds = self._settings.session_ttl_seconds
        await self._store.journal.carry(session.id, session.epoch, session.incarnation, data, seconds)


async def _told(outcome: Any) -> Any:
    return await outcome if inspect.isawaitable(outcome) else outcome
