"""Sessions kept in use while the operator kills or redeploys a node: what does each of them see?

Every session pings once a second, half of them as clients that keep cookies and one connection, half as clients that
do neither; each holds the standalone stream open where the server offers one, and opens it again when it ends. Once
sessions are lost, new ones are tried: does the deployment take those at least?
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from mooring.doctor.client import protocol
from mooring.doctor.client.held_stream import End, HeldStream
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.evidence.answered_by import AnsweredBy, answered_by
from mooring.doctor.examination import Examination

PING_SECONDS: Final = 1.0
_REOPEN_SECONDS: Final = 1.0
_RESERVE: Final = 4
"""One session in so many is not opened at first, to see whether new ones can be opened after a loss."""


@dataclass(frozen=True, slots=True)
class WatchedPing:
    """One ping: when it was sent, from the beginning of the watch, what came of it, and from whom."""

    at_seconds: float
    took_seconds: float
    outcome: Outcome
    label: str
    by: AnsweredBy = AnsweredBy.UNKNOWN


@dataclass(slots=True)
class WatchedSession:
    """What one session saw.

    Attributes:
        streams_ended: when its stream ended by itself, and how.
    """

    session: Session
    way: Way
    seen: list[WatchedPing] = field(default_factory=list)
    streams_ended: list[tuple[float, End]] = field(default_factory=list)


class Watch:
    """One watch over the sessions of an examination."""

    def __init__(self, exam: Examination) -> None:
        self._exam = exam
        self._started = time.monotonic()
        self.watched = [
            WatchedSession(session, WAYS[0] if number % 2 == 0 else WAYS[3])
            for number, session in enumerate(exam.sessions.opened)
        ]
        self.new_sessions: list[tuple[float, bool, str]] = []
        """Attempts to open a session after the first loss: when, whether it worked, and the server's version."""
        self._usual_servers: set[str] = set()  # what answers that arrived have as their Server

    @staticmethod
    def most_sessions(limit: int) -> int:
        """How many sessions to open for a watch."""
        return max(1, limit - limit // _RESERVE)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started

    async def run(self, seconds: float) -> None:
        """Watch for `seconds`, or until cancelled."""
        # The load balancer's 503 in place of a node is what is watched for, and the watch itself is no load.
        self._exam.wire.pace.keep()
        tasks = [asyncio.create_task(self._ping(one)) for one in self.watched]
        if not self._exam.plan.read_only:
            tasks += [asyncio.create_task(self._hold_streams(one)) for one in self.watched]
        tasks.append(asyncio.create_task(self._try_new_sessions()))
        try:
            while self.seconds < seconds:
                self._tell(seconds)
                await asyncio.sleep(min(PING_SECONDS, max(0.0, seconds - self.seconds)))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _tell(self, seconds: float) -> None:
        failing = sum(bool(one.seen) and one.seen[-1].outcome is not Outcome.REACHED for one in self.watched)
        end = "Ctrl-C ends it" if seconds == float("inf") else f"of {seconds:.0f} s"
        self._exam.listener.step(
            f"watching for {self.seconds:.0f} s ({end}): {len(self.watched) - failing} sessions answer, "
            f"{failing} do not; stop a node now"
        )

    async def _ping(self, one: WatchedSession) -> None:
        number = self.watched.index(one)
        await asyncio.sleep(PING_SECONDS * number / len(self.watched))
        while True:
            at = self.seconds
            reply = await self._exam.sessions.ping(one.session, one.way)
            if reply.outcome is Outcome.REACHED:
                self._usual_servers.add(reply.headers.get("Server", ""))
            by = answered_by(reply, self._usual_servers)
            one.seen.append(WatchedPing(at, reply.seconds, reply.outcome, self._exam.show(reply.label), by))
            await asyncio.sleep(max(0.0, PING_SECONDS - reply.seconds))

    async def _hold_streams(self, one: WatchedSession) -> None:
        while True:
            stream = await self._open_stream(one)
            if stream is not None:
                try:
                    await stream.wait(float("inf"))
                finally:
                    await stream.close()
                if stream.end is not None:
                    one.streams_ended.append((self.seconds, stream.end))
            await asyncio.sleep(_REOPEN_SECONDS)

    async def _open_stream(self, one: WatchedSession) -> HeldStream | None:
        headers = {**self._exam.sessions.headers(one.session, one.way), "Accept": protocol.EVENT_STREAM}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            response = await self._exam.wire.open("GET", headers=headers)
            if response.status == 200:
                return HeldStream(response)
            response.close()
        return None

    async def _try_new_sessions(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            lost = any(one.seen and one.seen[-1].outcome is not Outcome.REACHED for one in self.watched)
            if lost and self._exam.sessions.room > 0:
                session = await self._exam.sessions.open()
                version = self._exam.show(session.server.get("version", "")) if session is not None else ""
                self.new_sessions.append((self.seconds, session is not None, version))
