"""All streams of a node that can be listened to again, within bounds.

bound                 of                      and beyond it
--------------------  ----------------------  -----------------------------------------------
`stream_log_bytes`    one stream              its oldest events are let go
a few times that      one session             its oldest streams that are over; then the oldest events of the one that
                                              grows
`stream_room_bytes`   the node                the oldest streams that are over, whosever; then the same
`stream_log_seconds`  a stream that is over   it is let go
"""

from __future__ import annotations

import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from mooring.core.sse import SseParser
from mooring.core.stream_ids import BEGINNING, RANDOM_BYTES, Place, StreamFacts, StreamIds, StreamKind
from mooring.core.stream_log import LoggedEvent
from mooring.node.streams.answer import answers
from mooring.node.streams.stream import Stream
from mooring.node.streams.writing_behind import WriteBehind
from mooring.store.journal import Call, LogEntry

STREAMS_PER_SESSION: Final = 4
"""How many full ones a session may keep."""

_ON_ITS_WAY_SECONDS: Final = 5.0
"""How long what was sent may not have reached its client."""

_EACH_BYTES: Final = 2_048
"""What a stream takes besides what is said on it; it counts, since most of them say little."""


class StreamMemory:
    """
    Args:
        most_bytes: of one stream.
        room_bytes: of all of them.
        keep_seconds: a stream that is over.
        behind: writes down what another node may need.
        now: seconds, by a steady clock.

    Attributes:
        ids: mints and reads the streams' ids.
        size: bytes that are held, by estimate.
    """

    def __init__(
        self,
        ids: StreamIds,
        most_bytes: int,
        room_bytes: int,
        keep_seconds: float,
        behind: WriteBehind | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ids = ids
        self.size = 0
        self._most_bytes = most_bytes
        self._room_bytes = room_bytes
        self._keep_seconds = keep_seconds
        self._behind = behind
        self._now = now
        # By session and stream id, in the order in which they began. The oldest are let go first, and a plain dict
        # walks over all that it has lost to find its first.
        self._streams: dict[str, OrderedDict[str, Stream]] = {}
        # Those that are over, or rest, in that order: of which session, and since when.
        self._over: OrderedDict[Stream, tuple[str, float]] = OrderedDict()
        # How many of them a session has.
        self._over_of: Counter[str] = Counter()
        # What each of them counts for, and each session.
        self._counted: dict[Stream, int] = {}
        self._of_session: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counted)

    @property
    def open_streams(self) -> int:
        """How many are not over."""
        return len(self._counted) - len(self._over)

    def mint(self, session_id: str, facts: StreamFacts) -> str:
        """The id of a new stream of this session."""
        if facts.kind is StreamKind.STANDING:
            return self.ids.standing(session_id)
        return self.ids.mint(session_id, facts, secrets.token_bytes(RANDOM_BYTES))

    def open(self, session_id: str, facts: StreamFacts, epoch: int, stream_id: str = "") -> Stream:
        """A new stream of this session.

        Args:
            stream_id: its id, where that was minted before.
        """
        return self._opened(session_id, stream_id or self.mint(session_id, facts), facts, epoch)

    @property
    def is_written_behind(self) -> bool:
        """Whether there may be a next owner, for whom anything is written down."""
        return self._behind is not None

    def began(self, session_id: str, stream: Stream, note: Callable[[], Call | None]) -> None:
        """A request is being answered on this stream, and may take its time: then `note` says what it is."""
        if self._behind is not None:
            self._behind.began(session_id, stream, note)

    def forget_call(self, session_id: str, epoch: int, stream_id: str) -> None:
        """The call of this stream was noted, and left nothing that anybody would have to ask for."""
        if self._behind is not None:
            self._behind.forget_call(session_id, epoch, stream_id)

    def restored(
        self, session_id: str, stream_id: str, facts: StreamFacts, epoch: int, entries: Sequence[LogEntry]
    ) -> Stream:
        """A stream of this session that began elsewhere, or was let go, as far as it is on record."""
        before = Place(entries[0].epoch, entries[0].number - 1) if entries else BEGINNING
        stream = self._opened(session_id, stream_id, facts, epoch, before)
        for entry in entries:
            place = Place(entry.epoch, entry.number)
            if not entry.is_last:
                stream.log.restore(LoggedEvent(place, entry.data))
                for answer in _answers_in(entry, facts):
                    stream.answered_at(place, answer)
            elif not stream.is_answered:  # nothing ends without an answer: it was too large to be kept
                stream.answered_at(Place(entry.epoch, entry.number - 1))
        self._count(session_id, stream, _EACH_BYTES + stream.log.size)
        return stream

    def _opened(
        self, session_id: str, stream_id: str, facts: StreamFacts, epoch: int, after: Place = BEGINNING
    ) -> Stream:
        grew = partial(self._grew, session_id)
        stream = Stream(stream_id, facts, epoch, self._most_bytes, grew, after)
        self._streams.setdefault(session_id, OrderedDict())[stream_id] = stream
        self._counted[stream] = 0
        self._count(session_id, stream, _EACH_BYTES)
        return stream

    def find(self, session_id: str, stream_id: str) -> Stream | None:
        return self._streams[session_id].get(stream_id) if session_id in self._streams else None

    def of(self, session_id: str) -> Iterable[Stream]:
        """All streams of a session."""
        return list(self._streams[session_id].values()) if session_id in self._streams else []

    def sessions(self) -> list[str]:
        """Those that have a stream here; some of them may live elsewhere by now, or sleep."""
        return list(self._streams)

    def standing(self) -> list[Stream]:
        """Those of what servers say by themselves."""
        return [stream for stream in self._counted if stream.facts.kind is StreamKind.STANDING]

    async def write_down(self, session_ids: Iterable[str]) -> None:
        """Have on record whatever another node needs to go on with these sessions at once.

        Raises:
            StoreUnavailable: not all of it is.
        """
        if self._behind is None:
            return
        for session_id in session_ids:
            for stream in self.of(session_id):
                if self._may_be_missed(stream):
                    self._behind.write_whole(session_id, stream)
        await self._behind.flush()

    def write_again(self) -> None:
        """The store may have lost what was written: it is again, as far as anybody may come back for it."""
        if self._behind is None:
            return
        for session_id in self.sessions():
            for stream in self.of(session_id):
                if self._may_be_missed(stream):
                    self._behind.write_again(session_id, stream)

    def _may_be_missed(self, stream: Stream) -> bool:
        """Whether its client may come back for something: what was sent to it may have been lost on the way."""
        _, since = self._over.get(stream, ("", math.inf))
        return not stream.is_heard or self._now() - since < _ON_ITS_WAY_SECONDS

    def is_over(self, session_id: str, stream: Stream) -> None:
        """The stream is over; from now on it may be let go."""
        if stream in self._counted:
            self.wake(stream)
            self._is_over(session_id, stream)
        if self._behind is not None:
            self._behind.over(session_id, stream)
        self._make_room()

    def rest(self, session_id: str, *, but_listeners: bool = False) -> None:
        """The session is gone from here and may come back: its streams are kept like those that are over.

        Args:
            but_listeners: one that somebody listens to is kept as it is.
        """
        for stream in self.of(session_id):
            if but_listeners and stream.has_listener:
                continue
            if stream not in self._over:
                self._is_over(session_id, stream)
        self._make_room()

    def _is_over(self, session_id: str, stream: Stream) -> None:
        self._over[stream] = (session_id, self._now())
        self._over_of[session_id] += 1

    def wake(self, stream: Stream) -> None:
        """It goes on."""
        session_id, _ = self._over.pop(stream, ("", 0.0))
        self._over_of[session_id] -= 1
        if self._over_of[session_id] <= 0:
            del self._over_of[session_id]

    def drop(self, session_id: str, stream: Stream) -> None:
        """Nothing can be said of it here: whoever asks for it next finds none."""
        if stream in self._counted:
            self._drop(session_id, stream)

    def forget(self, session_id: str) -> None:
        """The session is gone."""
        for stream in self.of(session_id):
            self._drop(session_id, stream)

    def _grew(self, session_id: str, stream: Stream, event: LoggedEvent) -> None:
        if stream not in self._counted:
            return
        if self._behind is not None:
            self._behind.said(session_id, stream, event)
        self._count(session_id, stream, _EACH_BYTES + stream.log.size)
        if self._has_too_much(session_id):
            self._make_room_in(session_id)
        if self.size > self._room_bytes:
            self._make_room()
        while stream in self._counted and (self._has_too_much(session_id) or self.size > self._room_bytes):
            if not stream.log.drop_oldest():
                break
            self._count(session_id, stream, _EACH_BYTES + stream.log.size)

    def _has_too_much(self, session_id: str) -> bool:
        return self._of_session.get(session_id, 0) > STREAMS_PER_SESSION * self._most_bytes

    def _make_room_in(self, session_id: str) -> None:
        streams = self._streams[session_id]
        # A client may have thousands of streams open in a session, which would be gone through with each event.
        while self._over_of[session_id] and self._has_too_much(session_id):
            oldest = next((stream for stream in streams.values() if stream in self._over), None)
            if oldest is None:
                return
            self._drop(session_id, oldest)

    def _make_room(self) -> None:
        long_ago = self._now() - self._keep_seconds
        while self._over:
            oldest, (session_id, since) = next(iter(self._over.items()))
            if since > long_ago and self.size <= self._room_bytes:
                return
            self._drop(session_id, oldest)

    def _drop(self, session_id: str, stream: Stream) -> None:
        self._count(session_id, stream, 0)
        self.wake(stream)
        if self._behind is not None:
            self._behind.forget(stream)
        del self._counted[stream]
        streams = self._streams[session_id]
        del streams[stream.id]
        if not streams:
            del self._streams[session_id]
            del self._of_session[session_id]

    def _count(self, session_id: str, stream: Stream, size: int) -> None:
        change = size - self._counted[stream]
        self._counted[stream] = size
        self.size += change
        self._of_session[session_id] = self._of_session.get(session_id, 0) + change


def _answers_in(entry: LogEntry, facts: StreamFacts) -> list[str]:
    data = entry.data or b""
    if facts.kind is StreamKind.STANDING or not (b'"result"' in data or b'"error"' in data):
        return []
    return [event.data for event in SseParser().feed(data) if answers(event.data, facts.request_id)]
