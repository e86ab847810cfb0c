"""What waits for its place in one peer's mailbox: in order, in batches, and written again until it is there.

    the mailbox                            and then
    -------------------------------------  ------------------------------------------------------------------
    takes it                               it is off our hands
    is full                                the rest is written a moment later
    is missing: the peer does not read     the same; so it is with one that was emptied, until the peer reads
    cannot be asked: Redis is away         all is written again later: what was there is dropped by its number

Nothing is written to a peer that is known to be dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from mooring.errors import StoreUnavailable
from mooring.store.mailbox import Mailbox

logger = logging.getLogger("mooring.forwarding")

ROOM_BYTES: Final = 4 * 1024 * 1024
"""How much may wait here for one peer before those who pass on bodies have to wait."""
_BATCH: Final = 64
_BATCH_BYTES: Final = 1024 * 1024
_FULL_SECONDS: Final = 0.005
_MISSING_SECONDS: Final = 0.05
_AWAY_SECONDS: Final = 0.2


class Letter:
    """A frame on its way.

    Attributes:
        is_posted: set once it is in the mailbox.
        entry: what it has become there.
        trip: while Redis is asked to take it; set once it has said what it did.
        is_doubtful: it was tried, and Redis did not say what became of it.
        is_withdrawn: it need not go out any more.
        is_dropped: it was not written, as the peer was dead; what is said after it shows that it is missing.
    """

    __slots__ = ("entry", "frame", "is_doubtful", "is_dropped", "is_posted", "is_withdrawn", "trip")

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.is_posted = asyncio.Event()
        self.entry = b""
        self.trip: asyncio.Event | None = None
        self.is_doubtful = False
        self.is_withdrawn = False
        self.is_dropped = False

    @property
    def waits(self) -> bool:
        """Whether it is still to be written."""
        return not self.is_posted.is_set() and not self.is_dropped

    @property
    def may_be_there(self) -> bool:
        """Whether it may be in the mailbox, for all that is known by now."""
        return self.is_posted.is_set() or self.trip is not None or self.is_doubtful

    async def until_known(self) -> None:
        """Wait until Redis has said, or has not in its time, whether it took it just now."""
        if self.trip is not None:
            await self.trip.wait()

    async def is_there_within(self, seconds: float) -> bool:
        """Whether it is in the mailbox by then."""
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                await self.is_posted.wait()
        except TimeoutError:
            return False
        return True


class Outbox:
    """
    Args:
        is_dead: whether the peer is known to be dead; one that has just joined may not be known at all.
    """

    def __init__(
        self,
        peer_id: str,
        mailbox: Mailbox,
        is_dead: Callable[[str], bool],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._peer_id = peer_id
        self._mailbox = mailbox
        self._is_dead = is_dead
        self._sleep = sleep
        self._waiting: deque[Letter] = deque()
        self._bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        # While there is anything to write.
        self._running: asyncio.Task[None] | None = None
        # Whether somebody was told that it does not get through.
        self._was_told = False

    @property
    def is_empty(self) -> bool:
        return self._running is None

    @property
    def has_room(self) -> bool:
        return self._has_room.is_set()

    def put(self, frame: bytes) -> Letter:
        letter = Letter(frame)
        self._waiting.append(letter)
        self._count(len(frame))
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="mooring relay")
        return letter

    async def room(self) -> None:
        """Wait until there is room for a piece of a body."""
        await self._has_room.wait()

    def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
        self._has_room.set()

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes < ROOM_BYTES:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _run(self) -> None:
        try:
            while self._waiting:
                pause = await self._write_some()
                if pause:
                    await self._sleep(pause)
        finally:
            self._running = None

    async def _write_some(self) -> float:
        """Returns how long to wait before the next try."""
        if self._is_dead(self._peer_id):
            for letter in self._waiting:
                letter.is_dropped = True
            self._drop(len(self._waiting))
            return 0.0
        batch = self._next_batch()
        if not batch:
            return 0.0
        trip = asyncio.Event()
        for letter in batch:
            letter.trip = trip
        try:
            entries = await self._mailbox.post(self._peer_id, [letter.frame for letter in batch])
        except BaseException as error:
            for letter in batch:
                letter.is_doubtful = True
            if not isinstance(error, StoreUnavailable):  # as where this node stops
                raise
            self._tell(str(error))
            return _AWAY_SECONDS
        finally:
            for letter in batch:
                letter.trip = None
            trip.set()
        if entries is None:
            self._tell("it reads no mailbox now")
            return _MISSING_SECONDS
        is_full = len(entries) < len(batch)
        self._was_told = self._was_told and is_full
        self._drop(len(entries))
        for letter, entry in zip(batch, entries, strict=False):
            letter.entry = entry
            letter.is_posted.set()
        return _FULL_SECONDS if is_full else 0.0

    async def take_back(self, letter: Letter) -> bool:
        """Whether it is certain that the peer, which is dead, has never read this."""
        if letter.is_doubtful or not letter.is_posted.is_set():
            letter.is_withdrawn = True
            return not letter.may_be_there
        try:
            return await self._mailbox.take_back(self._peer_id, letter.entry)
        except StoreUnavailable:
            return False

    def _next_batch(self) -> list[Letter]:
        kept = [letter for letter in self._waiting if not letter.is_withdrawn]
        if len(kept) < len(self._waiting):
            self._count(sum(len(letter.frame) for letter in kept) - self._bytes)
            self._waiting = deque(kept)
        batch: list[Letter] = []
        size = 0
        for letter in self._waiting:
            if len(batch) == _BATCH or size > _BATCH_BYTES:
                break
            batch.append(letter)
            size += len(letter.frame)
        return batch

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._count(-len(self._waiting.popleft().frame))

    def _tell(self, why: str) -> None:
        if not self._was_told:
            logger.warning("what is passed on to node %s through Redis waits (peer_link): %s", self._peer_id, why)
        self._was_told = True
