"""The journal of a single node: this process's memory. Nothing in it is encrypted, as nobody else reads it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mooring.core.model import Written
from mooring.errors import Fenced
from mooring.store.journal import (
    CALLS,
    LOG_BYTES,
    LOG_ENTRIES,
    Call,
    Calls,
    Entries,
    LogEntry,
    SettledCall,
    StateChange,
)

_SWEEP_SECONDS: Final = 10.0


@dataclass(slots=True)
class _Pages:
    """What is kept of one session.

    Attributes:
        log: each entry, and until when it is kept; the oldest first.
        log_bytes: what these have together.
        running: the calls without an outcome, by stream.
        settled: the others, and until when they are kept.
        calls_until: when those that run go, too.
    """

    log: dict[tuple[str, int, int], tuple[LogEntry, float]] = field(default_factory=dict)
    log_bytes: int = 0
    running: dict[str, Call] = field(default_factory=dict)
    settled: dict[str, tuple[SettledCall, float]] = field(default_factory=dict)
    calls_until: float = 0.0

    def add(self, entry: LogEntry, until: float) -> None:
        place = (entry.stream, entry.epoch, entry.number)
        if place not in self.log:
            self.log[place] = (entry, until)
            self.log_bytes += len(entry.data or b"")

    def drop_old(self, now: float) -> None:
        while self.log and (self._is_full or next(iter(self.log.values()))[1] <= now):
            entry, _ = self.log.pop(next(iter(self.log)))
            self.log_bytes -= len(entry.data or b"")
        for stream in [stream for stream, (_, until) in self.settled.items() if until <= now]:
            del self.settled[stream]
        if self.calls_until <= now:
            self.running.clear()

    @property
    def _is_full(self) -> bool:
        return len(self.log) > 1 and (len(self.log) > LOG_ENTRIES or self.log_bytes > LOG_BYTES)

    @property
    def is_empty(self) -> bool:
        return not (self.log or self.running or self.settled)


class MemoryJournal:
    """
    Args:
        fence: compares a writer's epoch with a session's record, which takes it where it is higher.
        now: seconds.
    """

    def __init__(self, fence: Callable[[str, int], Written], now: Callable[[], float]) -> None:
        self._fence = fence
        self._now = now
        self._pages: dict[str, _Pages] = {}
        # What servers keep of their sessions; goes with the records.
        self._states: dict[str, tuple[int, int, bytes]] = {}
        # What goes along when they are given away: of which incarnation, what, and until when it is kept.
        self._carried: dict[str, tuple[int, bytes, float]] = {}
        # When those are looked through that nobody asks for.
        self._sweep_at = 0.0

    async def append(self, session_id: str, epoch: int, entries: Collection[LogEntry], ttl_seconds: float) -> Written:
        written = self._fence(session_id, epoch)
        if written is Written.DONE:
            pages, until = self._pages_of(session_id), self._now() + ttl_seconds
            for entry in entries:
                pages.add(entry, until)
            pages.drop_old(self._now())
        return written

    async def append_all(self, writes: Iterable[Entries], ttl_seconds: float) -> Mapping[str, Written]:
        written = {w.session_id: await self.append(w.session_id, w.epoch, w.entries, ttl_seconds) for w in writes}
        return _not_done(written)

    async def read(self, session_id: str, stream: str) -> list[LogEntry]:
        log = self._read(session_id).log
        return [log[key][0] for key in sorted(key for key in log if key[0] == stream)]

    async def note_calls(self, session_id: str, epoch: int, calls: Collection[Call], ttl_seconds: float) -> Written:
        written = self._fence(session_id, epoch)
        if written is Written.DONE:
            pages = self._pages_of(session_id)
            pages.calls_until = max(pages.calls_until, self._now() + ttl_seconds)
            for call in calls:
                if call.stream not in pages.settled and len(pages.running) + len(pages.settled) < CALLS:
                    pages.running[call.stream] = call
            pages.drop_old(self._now())
        return written

    async def note_all(self, writes: Iterable[Calls], ttl_seconds: float) -> Mapping[str, Written]:
        written = {w.session_id: await self.note_calls(w.session_id, w.epoch, w.calls, ttl_seconds) for w in writes}
        return _not_done(written)

    async def calls(self, session_id: str) -> list[Call | SettledCall]:
        pages = self._read(session_id)
        running = sorted(pages.running.values(), key=lambda call: call.started)
        return [*running, *(settled for settled, _ in pages.settled.values())]

    async def settle(self, session_id: str, epoch: int, stream: str, outcome: bytes, ttl_seconds: float) -> bytes:
        written = self._fence(session_id, epoch)
        if written is not Written.DONE:
            raise Fenced("settling a call", is_missing=written is Written.MISSING)
        pages = self._pages_of(session_id)
        if stream not in pages.settled:
            call = pages.running.pop(stream, None)
            noted = None if call is None else replace(call, body=b"")
            pages.settled[stream] = (SettledCall(stream, outcome, noted), self._now() + ttl_seconds)
        return pages.settled[stream][0].outcome

    async def commit(
        self, session_id: str, epoch: int, change: StateChange, ttl_seconds: float, state_ttl_seconds: int
    ) -> bytes:
        written = self._fence(session_id, epoch)
        if written is not Written.DONE:
            raise Fenced("writing the state of a session", is_missing=written is Written.MISSING)
        pages = self._pages_of(session_id)
        if change.stream in pages.settled:
            return pages.settled[change.stream][0].outcome
        kept_epoch, kept_version, _ = self._states.get(session_id, (0, 0, b""))
        if kept_epoch == epoch and kept_version >= change.version:
            if kept_version == change.version:
                return change.outcome
            raise Fenced("writing the state of a session", is_missing=False)
        self._states[session_id] = (epoch, change.version, change.state)
        for stream in change.mixed:
            if stream in pages.running:
                pages.running[stream] = replace(pages.running[stream], body=b"")
        await self.forget(session_id, epoch, change.over)
        if not change.stream:
            return b""
        return await self.settle(session_id, epoch, change.stream, change.outcome, ttl_seconds)

    async def load_state(self, session_id: str) -> tuple[bytes | None, int]:
        _, version, state = self._states.get(session_id, (0, 0, b""))
        return state, version

    async def carry(self, session_id: str, epoch: int, incarnation: int, data: bytes, ttl_seconds: int) -> Written:
        written = self._fence(session_id, epoch)
        if written is Written.DONE:
            self._carried.pop(session_id, None)
            if data:
                self._carried[session_id] = (incarnation, data, self._now() + ttl_seconds)
        return written

    async def carried(self, session_id: str) -> tuple[int, bytes] | None:
        incarnation, data, until = self._carried.get(session_id, (0, b"", 0.0))
        return (incarnation, data) if data and until > self._now() else None

    async def forget(self, session_id: str, epoch: int, streams: Collection[str]) -> Written:
        written = self._fence(session_id, epoch)
        if written is Written.DONE:
            pages = self._pages_of(session_id)
            for stream in streams:
                pages.running.pop(stream, None)
                pages.settled.pop(stream, None)
            pages.drop_old(self._now())
        return written

    def forget_session(self, session_id: str) -> None:
        """Its record was removed."""
        self._pages.pop(session_id, None)
        self._states.pop(session_id, None)
        self._carried.pop(session_id, None)

    def _read(self, session_id: str) -> _Pages:
        pages = self._pages.get(session_id, _Pages())
        pages.drop_old(self._now())
        return pages

    def _pages_of(self, session_id: str) -> _Pages:
        """To write on."""
        now = self._now()
        if self._sweep_at <= now:
            self._sweep_at = now + _SWEEP_SECONDS
            for pages in self._pages.values():
                pages.drop_old(now)
            self._pages = {session: pages for session, pages in self._pages.items() if not pages.is_empty}
        pages = self._pages.setdefault(session_id, _Pages())
        pages.drop_old(now)
        return pages


def _not_done(written: Mapping[str, Written]) -> Mapping[str, Written]:
    return {session_id: what for session_id, what in written.items() if what is not Written.DONE}
