"""How fast the doctor sends: at will, until it is told that this is too fast; then slower, and one request at a time.

A limit on the rate or on the number of requests is no fault of a deployment that the doctor alone would meet. But a 503
may come from a node that is down just as well. So what is refused is noted, and sent again at a slower pace:

    refused at the first pace, and no longer at a slower one   a limit: `is_limit`
    429, or nginx's own 503, at every pace                     a limit below what the doctor can do with
    another 503, at the slowest pace as well                   no limit: the pace is given up, and all of them count
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from mooring.doctor.client.reply import Reply

_INTERVALS: Final = (0.1, 0.4, 1.6)
"""Between two requests, one stage after the other."""
_BUSY: Final = 3
"""So many requests in one second are needed for a refusal to be about their number."""
_WINDOW_SECONDS: Final = 1.0
_AND_MORE: Final = 1.1
_MOST_WAIT_SECONDS: Final = 5.0
_ENOUGH: Final = 5
"""So many have to pass at the slower pace."""
_IN_VAIN: Final = 4
"""So many refusals one after the other, and nothing is sent again: it would be refused as well."""
_LONG_SECONDS: Final = 1.0
"""A limit refuses at once. Who says 503 later has tried in vain, as HAProxy does with a node that is down, for 3 s."""
_OF_SESSIONS: Final = re.compile(rb"session", re.IGNORECASE)
_LOOK_BYTES: Final = 400
_NOT_ONCE: Final = 2
"""So many that are refused at the slowest pace, and the pace is not the reason."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was refused, perhaps for the rate.

    Attributes:
        rate: how many requests were sent in the second before.
        stage: how often the doctor had slowed down by then.
        is_opening: it was an `initialize`.
    """

    reply: Reply
    rate: int
    stage: int
    is_opening: bool = False


class _Track:
    """The pace of one kind of request.

    Attributes:
        stage: how often it slowed down; 0 at first.
        passed: answers since then.
        refused: refusals since then.
        in_a_row: refusals since anything passed.
        next_seconds: when the next request may go.
    """

    def __init__(self) -> None:
        self.stage = 0
        self.passed = 0
        self.refused = 0
        self.in_a_row = 0
        self.next_seconds = 0.0
        self.one_at_a_time = asyncio.Lock()

    @property
    def is_in_vain(self) -> bool:
        return self.in_a_row > _IN_VAIN

    @property
    def interval_seconds(self) -> float:
        if not self.stage:
            return 0.0
        return _INTERVALS[0] if self.is_in_vain else _INTERVALS[self.stage - 1]

    def slow_down(self, wait_seconds: float) -> None:
        self.stage += 1
        self.passed = self.refused = 0
        # Who counts the requests of the last second has to see them gone.
        self.next_seconds = time.monotonic() + max(wait_seconds, self.interval_seconds, _WINDOW_SECONDS * _AND_MORE)


class Pace:
    """The pace of one run. Openings have a track of their own: what refuses them may let everything else pass.

    Attributes:
        refusals: all that were refused as if for their number; `is_to_be_sent_again` adds to it.
        is_given_up: slowing down did not help.
    """

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.is_given_up = False
        self._tracks = {True: _Track(), False: _Track()}  # of openings, and of all others
        self._sent: deque[float] = deque()  # when requests were sent, in the last second

    def keep(self) -> None:
        """From now on take no 503 for a limit on the rate, unless one was seen: it is to be told, not sent again."""
        self.is_given_up = not self.is_limit

    @property
    def is_slow(self) -> bool:
        """All requests go slowly."""
        return self._tracks[False].stage > 0 and not self.is_given_up

    @property
    def opens_slowly(self) -> bool:
        return self._tracks[True].stage > 0 and not self.is_given_up

    @property
    def interval_seconds(self) -> float:
        """Between two requests; 0 where nothing holds them up."""
        if self.is_given_up:
            return 0.0
        return max(track.interval_seconds for track in self._tracks.values())

    @property
    def is_limit(self) -> bool:
        """What was refused was refused for the rate or the number of requests, as far as can be seen."""
        if not self.refusals or self.is_given_up:
            return False
        if all(is_limit(refusal.reply) for refusal in self.refusals):
            return True
        # A node that is down may refuse what belongs to no session, while all else gets past it.
        tracks = [self._tracks[kind] for kind in {refusal.is_opening for refusal in self.refusals}]
        return all(track.passed >= _ENOUGH and not track.refused for track in tracks)

    @property
    def is_in_doubt(self) -> bool:
        """Whether more openings would tell what those mean that were refused."""
        return self.opens_slowly and self._tracks[True].passed < _ENOUGH

    @property
    def rate_refused(self) -> int:
        """The rate, in requests a second, at which the first was refused."""
        return self.refusals[0].rate if self.refusals else 0

    @contextlib.asynccontextmanager
    async def turn(self, *, is_opening: bool = False) -> AsyncIterator[int]:
        """Wait until a request may go, and let no other go until it is answered, where that is needed. Gives the stage
        in which it goes."""
        track = self._tracks[is_opening]
        if not track.stage or self.is_given_up:
            self._note_sent()
            yield track.stage
            return
        async with track.one_at_a_time:
            await asyncio.sleep(max(0.0, track.next_seconds - time.monotonic()))
            track.next_seconds = time.monotonic() + track.interval_seconds
            self._note_sent()
            yield track.stage

    def _note_sent(self) -> None:
        self._sent.append(time.monotonic())
        self._forget()

    def _forget(self) -> None:
        while self._sent and self._sent[0] < time.monotonic() - _WINDOW_SECONDS:
            self._sent.popleft()

    def is_to_be_sent_again(self, reply: Reply, stage: int, *, is_opening: bool = False) -> bool:
        """Whether that reply says that it was too much; slows down where it does.

        Args:
            stage: in which the request went.
        """
        track = self._tracks[is_opening]
        if not looks_limited(reply):
            track.passed += stage == track.stage
            track.in_a_row = 0
            return False
        self._forget()
        rate = len(self._sent)
        if self.is_given_up or (stage == 0 and track.stage == 0 and rate < _BUSY):
            return False
        self.refusals.append(Refusal(reply, rate, stage, is_opening))
        if stage < track.stage:
            return True  # it went before the last slowing down
        track.in_a_row += 1
        track.refused += 1
        if is_opening and track.stage == len(_INTERVALS) and self.refuses_openings_alone:
            self._tracks[False].stage = 0  # it was slowed down in vain
        if track.is_in_vain:
            return False
        if track.stage < len(_INTERVALS):
            track.slow_down(_wait_seconds(reply))
            other = self._tracks[not is_opening]
            if is_limit(reply) and other.stage < track.stage:
                other.slow_down(_wait_seconds(reply))
            return True
        if not is_limit(reply) and track.refused >= _NOT_ONCE:
            self.is_given_up = True
        return False

    @property
    def refuses_openings_alone(self) -> bool:
        """What refuses openings has let everything else pass."""
        return all(refusal.is_opening for refusal in self.refusals)


def is_limit(reply: Reply) -> bool:
    """Whether it is one: nginx answers a node that is down with 502, and uvicorn has no other 503."""
    if reply.status != 503:
        return reply.status == 429
    is_uvicorns = reply.headers.get("Server") == "uvicorn" and reply.body == b"Service Unavailable"
    return is_uvicorns or b"<center>nginx" in reply.body or b"<center>openresty" in reply.body


def looks_limited(reply: Reply) -> bool:
    """Whether it may be a limit on the rate or the number of requests: nginx and uvicorn say 503. What speaks of
    sessions is a limit on their number, which no pace gets past."""
    if reply.trouble is not None or _OF_SESSIONS.search(reply.body[:_LOOK_BYTES]):
        return False
    return is_limit(reply) or (reply.status == 503 and reply.seconds < _LONG_SECONDS)


def _wait_seconds(reply: Reply) -> float:
    said = reply.headers.get("Retry-After", "")
    return min(float(said), _MOST_WAIT_SECONDS) if said.isdecimal() else 0.0
