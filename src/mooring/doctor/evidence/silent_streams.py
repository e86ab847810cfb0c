"""A stream that is opened and then left alone, to see how long it lives and what reaches us over it.

    ask ──> held, and nothing sent in it ──> the session is ended ──> what was kept back comes now
            └ how old does it become?        └ the stream has to end, and cleanly

It runs beside the checks, in a session of its own. The session is ended only once somebody wants to know what was
heard, so that nothing else finds it gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from mooring.doctor.client import protocol
from mooring.doctor.client.held_stream import HeldStream, reach_stream
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.session import Session
from mooring.doctor.client.sessions import Sessions
from mooring.doctor.client.ways import Way
from mooring.doctor.client.wire import Wire
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.examination import Examination, Shared

PLAIN: Final = "identity"
COMPRESSED: Final = "gzip, deflate"
"""What every client accepts; some accept more."""

_TRIES: Final = 12
_FLUSH_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 3.0
_STEP_SECONDS: Final = 5.0

Step = Callable[[str], None]


class SilentStream:
    """Holds one stream; `start` it, and ask for what was `heard`.

    Attributes:
        session: it is ended in the end, so nobody else may need it; unless `ends_session` is False.
        seconds: how long the stream is held.
        encoding: the compression that is accepted.
        stream: the one that is held; None until its head came, or did not come in time.
    """

    def __init__(
        self,
        wire: Wire,
        sessions: Sessions,
        session: Session,
        seconds: float,
        encoding: str = PLAIN,
        *,
        ends_session: bool = True,
    ) -> None:
        self.session = session
        self.seconds = seconds
        self.encoding = encoding
        self.ends_session = ends_session
        self.stream: HeldStream | None = None
        self._wire = wire
        self._sessions = sessions
        self._holding: asyncio.Task[None] | None = None  # from `start` on
        self._finishing: asyncio.Task[Heard] | None = None  # from the first time that `heard` is asked
        self._closing: asyncio.Task[Reply] | None = None  # the DELETE of its session, which has to be waited for

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
        return {**self._sessions.headers(self.session, way), **more}

    async def _hold(self) -> None:
        self.stream = await reach_stream(self._wire, self._headers, tries=_TRIES, seconds=self.seconds)
        await self.stream.wait(self.seconds - self.stream.age_seconds)

    async def _finish(self, step: Step) -> Heard:
        assert self._holding is not None, "it was not started"
        while not (await asyncio.wait([self._holding], timeout=_STEP_SECONDS))[0]:
            age = self.stream.age_seconds if self.stream is not None else 0.0
            step(f"holding a silent stream, {age:.0f} of {self.seconds:.0f} s")
        stream = self.stream
        assert stream is not None
        held_seconds = stream.age_seconds
        ends = self.ends_session and stream.end is None and self.session in self._sessions.opened
        if ends:
            self._closing = asyncio.create_task(self._sessions.close(self.session))
            ends = (await asyncio.shield(self._closing)).is_ok
            await stream.wait(_FLUSH_SECONDS if ends else 0.0)
        await stream.close()
        return Heard(
            reply=self._wire.seen_through(stream.reply),
            head_seconds=stream.head_seconds,
            held_seconds=held_seconds,
            arrivals=tuple(stream.arrivals),
            end=stream.end,
            ended_seconds=stream.ended_seconds,
            is_session_ended=ends,
        )


class SilentStreams(Shared):
    """All streams that are held in one run.

    Attributes:
        held: by the encoding that is accepted, for all checks that ask how long a silent stream lives and what is kept
            back on it; filled by `begin`, without those for which there was no session.
    """

    def __init__(self, exam: Examination) -> None:
        super().__init__(exam)
        self.held: dict[str, SilentStream] = {}
        self._reserved: list[Session] = []  # for whoever leaves a session alone without a stream
        self._all: list[SilentStream] = []  # with those that a check holds for itself; closed together

    def begin(self, seconds: float, encodings: Collection[str]) -> None:
        """Hold a stream for each of these encodings, as far as there are sessions for it."""
        # The plain one first: where there is one session only, it is the one that more checks ask about.
        if self._exam.wire.pace.is_slow:
            encodings = {PLAIN} & set(encodings)  # each takes a connection, of which there may be few
        for encoding in sorted(encodings, key=lambda one: one != PLAIN):
            held = self.hold(seconds, encoding)
            if held is None and encoding == PLAIN and self._exam.first is not None:
                # All look at the first session: it is used where there is no other, and is not ended then.
                held = self._hold(self._exam.first, seconds, PLAIN, ends_session=False)
            if held is not None:
                self.held[encoding] = held

    async def heard(self, encoding: str = PLAIN) -> Heard | None:
        """What was heard on the stream of that encoding, once it was held for long enough; None where none is held."""
        held = self.held.get(encoding)
        return None if held is None else await held.heard(self._exam.listener.step)

    async def hear(self, seconds: float) -> Heard | None:
        """Hold one more stream for so long, and tell what was heard; None where no session is left for it."""
        held = self.hold(seconds)
        return None if held is None else await held.heard(self._exam.listener.step)

    def hold(self, seconds: float, encoding: str = PLAIN) -> SilentStream | None:
        """Hold one more, in a session that nobody else needs; None where there is none."""
        used = [*(held.session for held in self._all), *self._reserved]
        spare = next((session for session in self._exam.between if session not in used), None)
        return None if spare is None else self._hold(spare, seconds, encoding)

    def reserve(self, count: int, *, leave: int) -> list[Session]:
        """Up to so many sessions that no stream is held in, nor will be; some are left for streams."""
        used = [*(held.session for held in self._all), *self._reserved]
        free = [session for session in self._exam.between if session not in used]
        taken = free[leave:][-count:] if count else []
        self._reserved += taken
        return taken

    def _hold(self, session: Session, seconds: float, encoding: str, *, ends_session: bool = True) -> SilentStream:
        exam = self._exam
        held = SilentStream(exam.wire, exam.sessions, session, seconds, encoding, ends_session=ends_session)
        held.start()
        self._all.append(held)
        return held

    async def close(self) -> None:
        """Let go of all; never raises."""
        await asyncio.gather(*(held.close() for held in self._all))
