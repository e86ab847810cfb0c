"""Sessions that are left alone for a while, each for another time, and whether they are still there then."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from mooring.doctor.client.reply import MAY_PASS, Outcome, Reply
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import HOME, Way
from mooring.doctor.evidence.silent_streams import SilentStreams
from mooring.doctor.examination import Examination

_TIMES: Final = (2.0, 5.0, 11.0, 21.0, 31.0)
_LEFT_FOR_STREAMS: Final = 3
_AGAIN: Final = 3
_MOST_AGAIN: Final = 12
"""So many where they go on failing: a proxy may keep as many connections that are dead as it had at once."""


@dataclass(frozen=True, slots=True)
class Rest:
    """One session that was left alone.

    Attributes:
        same: the call on the connection that had been idle as long.
        other: calls on new connections after that.
    """

    seconds: float
    same: Reply
    other: tuple[Reply, ...]

    @property
    def is_lost(self) -> bool:
        """No node that was asked knows it any more."""
        return all(reply.outcome is Outcome.LOST for reply in (self.same, *self.other))

    @property
    def is_kept(self) -> bool:
        return any(reply.outcome is Outcome.REACHED for reply in (self.same, *self.other))

    @property
    def is_forgotten(self) -> bool:
        """Some calls reach it and some do not: nothing leads to its node any more."""
        return self.is_kept and any(reply.outcome is Outcome.LOST for reply in (self.same, *self.other))

    @property
    def broke_connection(self) -> bool:
        """The first call failed that came on the idle connection, and a later one was answered."""
        return self.failures > 0 and self.is_kept

    @property
    def failures(self) -> int:
        """How many calls failed before one was answered."""
        return next(
            (number for number, reply in enumerate((self.same, *self.other)) if reply.outcome is Outcome.REACHED),
            1 + len(self.other),
        )


def sessions_to_rest(exam: Examination) -> list[tuple[float, Session]]:
    """The times that fit into the operator's own, and a session for each; they are nobody else's from now on."""
    times = [seconds for seconds in _TIMES if seconds <= exam.plan.idle_seconds]
    free = exam.shared(SilentStreams).reserve(len(times), leave=_LEFT_FOR_STREAMS)
    return list(zip(times[-len(free) :] if free else [], free, strict=True))


async def let_rest(exam: Examination, resting: list[tuple[float, Session]]) -> list[Rest]:
    """Leave each alone for its time, and then call it."""
    return list(await asyncio.gather(*(_rest(exam, seconds, session) for seconds, session in resting)))


async def _rest(exam: Examination, seconds: float, session: Session) -> Rest:
    await exam.sessions.ping(session, HOME)
    await asyncio.sleep(seconds)
    same = await exam.sessions.ping(session, HOME)
    other = list[Reply]()
    for turn in range(_MOST_AGAIN):
        other.append(await exam.sessions.ping(session, Way(cookies=turn % 2 == 0, one_connection=False)))
        if turn + 1 >= _AGAIN and other[-1].outcome not in MAY_PASS:
            break
    return Rest(seconds, same, tuple(other))
