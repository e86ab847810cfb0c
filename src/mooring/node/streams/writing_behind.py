"""What is written of streams and calls so that another node can go on with them: behind, in batches, and only where it
may be needed.

    a stream                               is written
    -------------------------------------  ------------------------------------------------------------------------
    whose request was answered in a moment not at all
    whose session goes to another node     the same, at once, where its client may not have heard all
    whose request takes longer             once it has lasted for `stream_write_after_seconds`: the request, all that
                                           was said so far, and what is said after that
    for what the server says by itself     whatever is said
    that the store may have lost           all that is known of it, again

Nobody waits for it: a store that is slow or away delays no client. What waits is bounded; what had no place is lost to
the next owner, which says so where it was an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final
from weakref import WeakSet

from mooring.core.model import Written
from mooring.core.stream_ids import StreamKind
from mooring.core.stream_log import LoggedEvent
from mooring.errors import StoreUnavailable
from mooring.node.streams.stream import Stream
from mooring.node.streams.waiting import Waiting
from mooring.store.journal import Call, Calls, Entries, Journal, LogEntry

logger = logging.getLogger("mooring.sessions")

MOST_WAITING: Final = 20_000
"""Events that wait for the store; as many calls may."""
MOST_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Of either."""
_BATCH: Final = 2_000
_RETRY_SECONDS: Final = 0.5
_ENTRY_BYTES: Final = 1024 * 1024
"""A larger event is not kept in the store: it is marked as lost."""


class WriteBehind:
    """
    Args:
        after_seconds: how long a request may take before anything is written of it.
        keep_seconds: how long what is written is kept.
        now: seconds, by a steady clock.
    """

    def __init__(
        self,
        journal: Callable[[], Journal],
        after_seconds: float,
        keep_seconds: float,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._journal = journal
        self._after_seconds = after_seconds
        self._keep_seconds = keep_seconds
        self._now = now
        self._sleep = sleep
        # Streams that have not lasted long enough yet, when they began, and what tells of their requests.
        self._young: deque[tuple[float, str, Stream, Callable[[], Call | None]]] = deque()
        # Those of which all is written; and those that are over besides.
        self._written: set[Stream] = set()
        self._complete: WeakSet[Stream] = WeakSet()
        # Of what waits, one writes at a time.
        self._writing = asyncio.Lock()
        # What waits: events, calls, and calls that ended, with their sessions and epochs.
        self._entries = Waiting[tuple[str, int, LogEntry]](MOST_WAITING, MOST_WAITING_BYTES)
        self._calls = Waiting[tuple[str, int, Call]](MOST_WAITING, MOST_WAITING_BYTES)
        self._ended = Waiting[tuple[str, int, str]](MOST_WAITING, MOST_WAITING_BYTES)
        self._stirred = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._fails = False
        self._lost_while_away = 0
        self._has_warned_of_haste = False

    @property
    def lost(self) -> int:
        """How many events and calls were lost to a next owner, because the store was away for too long, or too slow."""
        return self._entries.lost + self._calls.lost

    def start(self) -> None:
        self._work = asyncio.create_task(self._keep_writing(), name="mooring journal")

    async def stop(self) -> None:
        """Write what is left, if the store takes it."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
            try:
                async with asyncio.timeout(1.0):
                    await self._write_all()
            except (StoreUnavailable, TimeoutError):
                logger.warning("what %d events said is not on record: see whether Redis answers", len(self._entries))

    def began(self, session_id: str, stream: Stream, note: Callable[[], Call | None]) -> None:
        """A request is being answered on this stream; `note` says what it is, once that has to be written; None
        where it is on record already."""
        self._young.append((self._now(), session_id, stream, note))
        self._stirred.set()

    def said(self, session_id: str, stream: Stream, event: LoggedEvent) -> None:
        """Something was said."""
        if stream in self._written or stream.facts.kind is StreamKind.STANDING:
            self._queue(session_id, stream, event)

    def over(self, session_id: str, stream: Stream) -> None:
        """Nothing more will be said."""
        if stream in self._written:
            self._written.discard(stream)
            self._complete.add(stream)
            self._mark_last(session_id, stream)
            if not stream.is_kept:
                self._ended.add((session_id, stream.epoch, stream.id))
            self._stirred.set()

    def forget_call(self, session_id: str, epoch: int, stream_id: str) -> None:
        """What was noted of this call, by whoever did so before it was carried out, is of no use any more."""
        self._ended.add((session_id, epoch, stream_id))
        self._stirred.set()

    def write_whole(self, session_id: str, stream: Stream) -> None:
        """Its session goes to another node: all of it is needed there, however short it is."""
        if stream in self._written or stream in self._complete or stream.facts.kind is StreamKind.STANDING:
            return
        for young in [young for young in self._young if young[2] is stream]:
            self._young.remove(young)
            if not stream.is_over:
                self._note(session_id, stream, young[3])
        for event in stream.log.everything():
            self._queue(session_id, stream, event)
        if stream.is_over:
            self._complete.add(stream)
            self._mark_last(session_id, stream)
        else:
            self._written.add(stream)

    def write_again(self, session_id: str, stream: Stream) -> None:
        """What was written of it may be lost: to add the same again changes nothing.

        What runs is noted by whoever runs it (`mooring.node.membership.running_calls`).
        """
        is_standing = stream.facts.kind is StreamKind.STANDING
        if is_standing and stream.is_heard:
            return
        if is_standing or stream in self._written or stream in self._complete:
            for event in stream.log.everything():
                self._queue(session_id, stream, event)
            if stream.is_over:
                self._mark_last(session_id, stream)

    async def flush(self) -> None:
        """Write what waits.

        Raises:
            StoreUnavailable: what was not written waits on.
        """
        await self._write_all()

    def forget(self, stream: Stream) -> None:
        """Another node writes it from now on, or nobody needs it."""
        self._written.discard(stream)
        if not stream.is_over:
            self._young = deque(young for young in self._young if young[2] is not stream)

    async def _keep_writing(self) -> None:
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            while self._young or self._entries or self._calls or self._ended:
                try:
                    await self._sleep(self._next_pause())
                    self._grow_up()
                    await self._write_all()
                    self._note_success()
                except StoreUnavailable as error:
                    self._note_failure(error)
                    await self._sleep(_RETRY_SECONDS)
                except Exception:
                    logger.exception("what is said on streams cannot be written down; it is tried again")
                    await self._sleep(_RETRY_SECONDS)

    def _next_pause(self) -> float:
        """Until the oldest of the young is old enough; a little in any case, so that there is something to batch."""
        if self._entries or self._calls or self._ended or not self._young:
            return min(self._after_seconds, 0.005)
        return max(self._young[0][0] + self._after_seconds - self._now(), 0.001)

    def _grow_up(self) -> None:
        """Those that have lasted long enough are written from now on."""
        long_ago = self._now() - self._after_seconds
        while self._young and self._young[0][0] <= long_ago:
            _, session_id, stream, note = self._young.popleft()
            if stream.is_over:
                continue
            self._written.add(stream)
            self._note(session_id, stream, note)
            for event in stream.log.everything():
                self._queue(session_id, stream, event)

    def _note(self, session_id: str, stream: Stream, note: Callable[[], Call | None]) -> None:
        call = note()
        if call is not None:
            self._calls.add((session_id, stream.epoch, call), len(call.body))

    def _queue(self, session_id: str, stream: Stream, event: LoggedEvent) -> None:
        data = event.data if event.data is not None and len(event.data) <= _ENTRY_BYTES else None
        entry = LogEntry(stream.id, event.place.epoch, event.place.number, data)
        self._entries.add((session_id, stream.epoch, entry), len(data or b""))
        self._stirred.set()

    def _mark_last(self, session_id: str, stream: Stream) -> None:
        """The end of a stream is an entry of its own, without anything to send."""
        place = stream.log.next_place(stream.epoch)
        last = LogEntry(stream.id, place.epoch, place.number, b"", is_last=True)
        self._entries.add((session_id, stream.epoch, last))

    async def _write_all(self) -> None:
        """
        Raises:
            StoreUnavailable: what was not written waits on.
        """
        async with self._writing:
            await self._write_in_turn(self._journal())

    async def _write_in_turn(self, journal: Journal) -> None:
        while self._calls or self._entries or self._ended:
            calls = self._calls.first(_BATCH)
            entries = self._entries.first(_BATCH)
            ended = self._ended.first(_BATCH)
            if calls:
                noted = await journal.note_all(
                    [Calls(name, epoch, some) for (name, epoch), some in _by_session(calls).items()],
                    self._keep_seconds,
                )
                self._calls.done(calls)
                _note_refusals(noted.values())
            if entries:
                added = await journal.append_all(
                    [Entries(name, epoch, some) for (name, epoch), some in _by_session(entries).items()],
                    self._keep_seconds,
                )
                self._entries.done(entries)
                _note_refusals(added.values())
            if len(entries) < _BATCH:
                for (name, epoch), streams in _by_session(ended).items():
                    await journal.forget(name, epoch, streams)
                self._ended.done(ended)

    def _note_failure(self, error: StoreUnavailable) -> None:
        if not self._fails:
            logger.warning("streams are not on record until the store is back, and end with this node: %s", error)
        self._fails = True

    def _note_success(self) -> None:
        if self._fails:
            logger.info("streams are on record again; %d events and calls were lost to a next owner so far", self.lost)
            self._lost_while_away = self.lost
        elif self.lost > self._lost_while_away and not self._has_warned_of_haste:
            self._has_warned_of_haste = True
            logger.warning(
                "apps say more than Redis takes in that time: %d events and calls were lost to a next owner so far, "
                "which says so to whoever comes back for them; see how long Redis takes, and why apps say so much",
                self.lost,
            )
        self._fails = False


def _note_refusals(refused: Iterable[Written]) -> None:
    if any(what is Written.REFUSED for what in refused):
        logger.info("what was said on sessions that have another owner by now was not written")


def _by_session(queued: list[tuple[str, int, Any]]) -> dict[tuple[str, int], list[Any]]:
    parted: dict[tuple[str, int], list[Any]] = {}
    for session_id, epoch, what in queued:
        parted.setdefault((session_id, epoch), []).append(what)
    return parted
