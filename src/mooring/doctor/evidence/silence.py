"""A stream that is opened and then left alone, to see how long it lives and what reaches us over it.

    ask ──> held, and nothing sent in it ──> the session is ended ──> what was kept back comes now
            └ how old does it become?        └ the stream has to end, and cleanly

It runs beside the other checks, in a session of its own. Only who wants to know what was heard has the session ended,
so that nothing else finds it gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.sessions import Session, Sessions, Way
from mooring.doctor.client.stream import Arrival, End, HeldStream, StreamFacts, facts_of, reach_stream
from mooring.doctor.client.wire import Wire

PLAIN: Final = "identity"
COMPRESSED: Final = "gzip, deflate"
"""What every client accepts; some accept more."""

_TRIES: Final = 12
_FLUSH_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 3.0
_STEP_SECONDS: Final = 5.0
_AT_ONCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05
"""What comes sooner than that came together, or right after the request."""
_SHOWN: Final = 20

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard on the stream. Times are in seconds from its request.

    Attributes:
        reply: its head, or the refusal.
        head_seconds: when that came; None where none came until the end.
        held_seconds: how long we left it alone. What came after that was set free by the end of the session.
        end: how it ended, by itself or with the session; None where it did not.
        is_session_ended: we had the session ended.
    """

    reply: Reply
    head_seconds: float | None
    held_seconds: float
    arrivals: tuple[Arrival, ...] = ()
    end: End | None = None
    ended_seconds: float = 0.0
    is_session_ended: bool = False

    @property
    def is_stream(self) -> bool:
        return self.reply.status == 200 and self.reply.media_type == protocol.EVENT_STREAM

    @property
    def is_refused(self) -> bool:
        """There is no stream; one whose head has not come yet may still be one."""
        return not self.is_stream and (self.reply.status != 0 or self.end is not None)

    @property
    def ended_early(self) -> bool:
        """It ended by itself, before we had anything ended."""
        return self.end is not None and self.ended_seconds <= self.held_seconds

    @property
    def early(self) -> StreamFacts:
        """What came while it was held."""
        return facts_of([arrival for arrival in self.arrivals if arrival.seconds <= self.held_seconds])

    @property
    def flushed(self) -> StreamFacts:
        """What came with the end of the session."""
        return facts_of([arrival for arrival in self.arrivals if arrival.seconds > self.held_seconds])

    @property
    def age_seconds(self) -> float:
        """How old it became by itself, or while we held it."""
        return self.ended_seconds if self.ended_early else self.held_seconds

    @property
    def silences(self) -> tuple[float, ...]:
        """How long nothing came, each time until something did."""
        times = self._early_seconds
        gaps = (after - before for before, after in zip([0.0, *times], times, strict=False))
        return tuple(gap for gap in gaps if gap >= _PAUSE_SECONDS)

    @property
    def last_silence_seconds(self) -> float:
        """How long nothing had come when it ended, or when we stopped holding it."""
        return self.age_seconds - max(self._early_seconds, default=0.0)

    @property
    def _early_seconds(self) -> list[float]:
        return [arrival.seconds for arrival in self.arrivals if arrival.seconds <= self.held_seconds]

    @property
    def is_held_back(self) -> bool:
        """What must have been sent at several times came all at once, with the end of the session."""
        return self.is_session_ended and self.early.sendings == 0 and self.flushed.sendings > 1

    @property
    def passes(self) -> bool:
        """Something came while the stream went on."""
        until = self.age_seconds - _PAUSE_SECONDS
        return facts_of([arrival for arrival in self.arrivals if arrival.seconds < until]).sendings > 0

    @property
    def is_head_late(self) -> bool:
        """The head came only with what was sent first, or with the end; it belongs at the beginning."""
        if not self.is_stream or self.head_seconds is None or self.head_seconds <= _AT_ONCE_SECONDS:
            return False
        with_first = any(arrival.seconds - self.head_seconds < _PAUSE_SECONDS for arrival in self.arrivals[:1])
        return with_first or self.head_seconds > self.held_seconds

    def numbers(self) -> dict[str, Any]:
        """It as evidence."""
        return {
            "status": self.reply.status,
            "head_seconds": None if self.head_seconds is None else round(self.head_seconds, 3),
            "age_seconds": round(self.age_seconds, 2),
            "end": str(self.end) if self.end is not None else None,
            "ended_by_itself": self.ended_early,
            "comments": self.early.comments,
            "events": len(self.early.events),
            "silences_seconds": [round(one, 2) for one in (*self.silences, self.last_silence_seconds)][:_SHOWN],
            "sent_at_the_end": self.flushed.sendings if self.is_session_ended else None,
        }


@dataclass(slots=True)
class Silence:
    """Holds one stream; `start` it, and ask once for what was `heard`.

    Attributes:
        session: it is ended in the end, so nobody else may need it; unless `ends_session` is False.
        seconds: how long the stream is held.
        encoding: the compression that is accepted.
    """

    wire: Wire
    sessions: Sessions
    session: Session
    seconds: float
    encoding: str = PLAIN
    ends_session: bool = True
    stream: HeldStream | None = None
    _holding: asyncio.Task[None] | None = None
    _finishing: asyncio.Task[Heard] | None = None
    _closing: asyncio.Task[Reply] | None = None

    def start(self) -> None:
        self._holding = asyncio.create_task(self._hold())

    async def heard(self, step: Step) -> Heard:
        """What was heard, once the stream was held for long enough and its session has been ended."""
        if self._finishing is None:
            self._finishing = asyncio.create_task(self._finish(step))
        return await asyncio.shield(self._finishing)

    async def close(self) -> None:
        """Let go of it at once; never raises. The session is left to whoever closes them all."""
        tasks = [task for task in (self._holding, self._finishing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self.stream is not None:
            await self.stream.close()
        if self._closing is not None and not self._closing.done():
            await asyncio.wait([self._closing], timeout=_CLOSE_SECONDS)
            self._closing.cancel()

    def _headers(self, turn: int) -> dict[str, str]:
        way = Way(cookies=turn % 2 == 1, one_connection=False)
        more = {"Accept": protocol.EVENT_STREAM, "Accept-Encoding": self.encoding}
        return {**self.sessions.headers(self.session, way), **more}

    async def _hold(self) -> None:
        self.stream = await reach_stream(self.wire, self._headers, tries=_TRIES, seconds=self.seconds)
        await self.stream.wait(self.seconds - self.stream.age_seconds)

    async def _finish(self, step: Step) -> Heard:
        assert self._holding is not None, "it was not started"
        while not (await asyncio.wait([self._holding], timeout=_STEP_SECONDS))[0]:
            age = self.stream.age_seconds if self.stream is not None else 0.0
            step(f"holding a silent stream, {age:.0f} of {self.seconds:.0f} s")
        stream = self.stream
        assert stream is not None
        held_seconds = stream.age_seconds
        ends = self.ends_session and stream.end is None and self.session in self.sessions.opened
        if ends:
            self._closing = asyncio.create_task(self.sessions.close(self.session))
            ends = (await asyncio.shield(self._closing)).is_ok
            await stream.wait(_FLUSH_SECONDS if ends else 0.0)
        await stream.close()
        return Heard(
            reply=stream.reply,
            head_seconds=stream.head_seconds,
            held_seconds=held_seconds,
            arrivals=tuple(stream.arrivals),
            end=stream.end,
            ended_seconds=stream.ended_seconds,
            is_session_ended=ends,
        )


class Silences:
    """All streams that are held in one run.

    Attributes:
        plain: for whoever asks how long a silent stream lives, and what is kept back on it; None where none is held.
        compressed: the same for one that may be compressed.
    """

    def __init__(self, wire: Wire, sessions: Sessions) -> None:
        self._wire = wire
        self._sessions = sessions
        self._all: list[Silence] = []
        self.plain: Silence | None = None
        self.compressed: Silence | None = None

    def begin(self, seconds: float, *, plain: bool, compressed: bool) -> None:
        """Hold what is wanted, as far as there are sessions for it."""
        if plain and self._sessions.opened:
            # Others look at the first session: it is used where there is no other, and is not ended then.
            self.plain = self.hold(seconds) or self._hold(self._sessions.opened[0], seconds, ends_session=False)
        if compressed:
            self.compressed = self.hold(seconds, COMPRESSED)

    def hold(self, seconds: float, encoding: str = PLAIN) -> Silence | None:
        """Hold one more, in a session that nobody else needs; None where there is none.

        The first session is looked at by all, and the last one is deleted by a check of its own.
        """
        used = [silence.session for silence in self._all]
        spare = next((session for session in self._sessions.opened[1:-1] if session not in used), None)
        return None if spare is None else self._hold(spare, seconds, encoding)

    def _hold(self, session: Session, seconds: float, encoding: str = PLAIN, *, ends_session: bool = True) -> Silence:
        silence = Silence(self._wire, self._sessions, session, seconds, encoding, ends_session)
        silence.start()
        self._all.append(silence)
        return silence

    async def close(self) -> None:
        """Let go of all; never raises."""
        await asyncio.gather(*(silence.close() for silence in self._all))
