"""What is written down of a session's running work, so that another node can go on with it.

Two things for minutes: the **log** of what was sent on its streams, and the **calls** that run, with the one outcome of
each. One for as long as its record: the **state** that its server keeps. And what is **carried** along when it is given
to another node. `tests/store/test_journals.py` holds every adapter to this.

Every write names the epoch that its writer holds the session's shard at, and is compared with the session's record in
the same step (see `Written`): where the record is of a later epoch, or was removed, nothing is written. A record of a
lower epoch takes the writer's, so that a new owner's first write fences the owner before it. With the record goes all
that the journal has of its session.

Whoever takes over raises the epoch first, and reads after: nothing is added behind its back then.

All methods raise `StoreUnavailable` when the store does not answer in time; none of them waits for it to come back.
What is asked at the same time, of however many sessions, goes together in few round trips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from mooring.core.model import Written

LOG_ENTRIES: Final = 2_000
"""About how many entries the log of one session keeps: the latest, of all its streams together."""
LOG_BYTES: Final = 8 * 1024 * 1024
"""About how many bytes these may have together."""
CALLS: Final = 1_000
"""About how many calls of one session are kept; beyond them none is noted."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What was sent on a stream at one place.

    Attributes:
        epoch: at which it was sent: what a later owner adds comes after all that an earlier one sent.
        number: its place in the stream.
        data: None where it cannot be sent again: it was too long to be kept, or what is kept cannot be read.
        is_last: the stream ended with it.
    """

    stream: str
    epoch: int
    number: int
    data: bytes | None
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was handed to the app.

    Attributes:
        request_id_json: its JSON-RPC id, as JSON.
        name: of the tool, prompt or resource; "" where there is none.
        body: the whole message, where it may be carried out again; else empty.
        started: seconds since the epoch.
        is_transactional: it was noted before it was carried out, and changes nothing but its session's state: it may be
            carried out again as long as it is not settled, and its body is here.
    """

    stream: str
    request_id_json: str
    method: str
    name: str
    body: bytes
    started: float
    is_transactional: bool = False


@dataclass(frozen=True, slots=True)
class SettledCall:
    """A request whose answer stands.

    Attributes:
        outcome: what it was settled with.
        call: what was noted of it without its body, which nobody needs any more; None where nothing was.
    """

    stream: str
    outcome: bytes
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """What a node at `epoch` adds to the log of a session."""

    session_id: str
    epoch: int
    entries: Collection[LogEntry]


@dataclass(frozen=True, slots=True)
class Calls:
    """What a node at `epoch` notes of the calls of a session."""

    session_id: str
    epoch: int
    calls: Collection[Call]


@dataclass(frozen=True, slots=True)
class StateChange:
    """A session's state, and what becomes of its calls with it.

    Attributes:
        state: all of it, as JSON.
        version: its number: what has a later one of the same owner on record is not written over.
        stream: of the call that is answered, and `outcome` its answer; "" where there is none.
        mixed: streams of other calls, parts of which may be in the state by now: they are not carried out again.
        over: streams of calls that nobody will ask for any more.
    """

    state: bytes
    version: int
    stream: str = ""
    outcome: bytes = b""
    mixed: Collection[str] = ()
    over: Collection[str] = ()


class Journal(Protocol):
    """The log of each session's streams, and its calls."""

    async def append(self, session_id: str, epoch: int, entries: Collection[LogEntry], ttl_seconds: float) -> Written:
        """Add to the session's log. To add the same again changes nothing.

        Entries that were added longer ago than `ttl_seconds` go, and the oldest beyond
        `LOG_ENTRIES` and `LOG_BYTES`.
        """

    async def append_all(self, writes: Iterable[Entries], ttl_seconds: float) -> Mapping[str, Written]:
        """Add to many logs; answers those to which nothing was added, by session id."""

    async def read(self, session_id: str, stream: str) -> list[LogEntry]:
        """What the log still has of one stream, in order. What is missing before or between is lost."""

    async def note_calls(self, session_id: str, epoch: int, calls: Collection[Call], ttl_seconds: float) -> Written:
        """Write down that these run. One that is settled stays as it is. They are kept for `ttl_seconds` at least.

        So are those that were noted before.
        """

    async def note_all(self, writes: Iterable[Calls], ttl_seconds: float) -> Mapping[str, Written]:
        """Note calls of many sessions; answers those of which nothing was noted, by session id."""

    async def calls(self, session_id: str) -> list[Call | SettledCall]:
        """What is known of the session's calls: those that run by their start, then those that are settled."""

    async def settle(self, session_id: str, epoch: int, stream: str, outcome: bytes, ttl_seconds: float) -> bytes:
        """Decide what became of a call, whether or not it was noted; returns what it was settled with.

        The first outcome stands, for `ttl_seconds` at least, and everybody who settles it after that gets that one.

        Raises:
            Fenced: a later owner decides, or the session is gone. Nothing is decided here.
        """

    async def commit(
        self, session_id: str, epoch: int, change: StateChange, ttl_seconds: float, state_ttl_seconds: int
    ) -> bytes:
        """Write the state, and settle the call with its answer, in one step; returns what it was settled with.

        Where that is another outcome, or the same from before, it stands, and nothing is written.

        Raises:
            Fenced: a later version is there, a later owner decides, or the session is gone. Nothing is written.
        """

    async def load_state(self, session_id: str) -> tuple[bytes | None, int]:
        """The session's state, and its version; empty and 0 where there is none; None where it cannot be read."""

    async def carry(self, session_id: str, epoch: int, incarnation: int, data: bytes, ttl_seconds: int) -> Written:
        """Keep what goes along with the session when it is given away, of this life of it; empty: keep nothing."""

    async def carried(self, session_id: str) -> tuple[int, bytes] | None:
        """Of which incarnation that is, and what; None where there is nothing, or it cannot be read."""

    async def forget(self, session_id: str, epoch: int, streams: Collection[str]) -> Written:
        """Forget calls that ended and whose client has the answer; outcomes too."""
