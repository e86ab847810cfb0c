"""What the load balancer seems to go by, from which calls found their session.

The same sessions are used in each of four ways: with the cookies that were set or without, on one connection or on a
new one for each request. Which ways fail, and how, tells:

    fails            works               pattern
    all ways alike   -                   ROUND_ROBIN  nothing keeps a session together
    without cookies  with cookies        COOKIE       affinity by cookie alone
    new connections  one connection      CONNECTION   affinity by connection
    some sessions    the other sessions  HASH         by something that is constant within a session, but was not
                                                      there yet at `initialize`: the session id itself
    every call       -                   NEVER        not even the node that opened it knows the session
    all later calls  all earlier calls   ENDED        the session went with its node
    any, as without  -                   DROPPED      the id was lost on the way; told by comparing the answers
    an id
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.evidence.ended_sessions import count_ended
from mooring.doctor.examination import Call


class Pattern(enum.Enum):
    """What the load balancer seems to go by."""

    KEPT = enum.auto()
    ROUND_ROBIN = enum.auto()
    COOKIE = enum.auto()
    CONNECTION = enum.auto()
    HASH = enum.auto()
    NEVER = enum.auto()
    ENDED = enum.auto()
    DROPPED = enum.auto()


@dataclass(frozen=True, slots=True)
class CallTally:
    """The calls of one way, or of all."""

    calls: int
    outcomes: Counter[Outcome]
    labels: Counter[str]

    @classmethod
    def of(cls, calls: Sequence[Call]) -> CallTally:
        failed = [call for call in calls if call.reply.outcome is not Outcome.REACHED]
        return cls(
            len(calls),
            Counter(call.reply.outcome for call in calls),
            Counter(call.reply.label for call in failed),
        )

    @property
    def reached(self) -> int:
        return self.outcomes[Outcome.REACHED]

    @property
    def lost(self) -> int:
        return self.outcomes[Outcome.LOST]

    @property
    def share(self) -> float:
        """Of the calls that reached their session."""
        return self.reached / self.calls if self.calls else 0.0


def pattern_of(calls: Sequence[Call]) -> Pattern:
    """What the load balancer seems to go by, from which calls found their session."""
    by_way = tally_by_way(calls)
    lost = {way for way, tally in by_way.items() if tally.lost}
    if not lost:
        return Pattern.KEPT
    if not any(tally.reached for tally in by_way.values()):
        return Pattern.NEVER
    if count_ended(calls):
        return Pattern.ENDED
    if all(not way.cookies for way in lost):
        return Pattern.COOKIE
    if all(not way.one_connection for way in lost):
        return Pattern.CONNECTION
    per_session = [CallTally.of([call for call in calls if call.session is session]) for session in sessions_of(calls)]
    if all(tally.share in (0.0, 1.0) for tally in per_session if tally.calls > 1):
        return Pattern.HASH
    return Pattern.ROUND_ROBIN


def tally_by_way(calls: Sequence[Call]) -> dict[Way, CallTally]:
    """The calls of each way, the ways in their order."""
    return {way: CallTally.of([call for call in calls if call.way == way]) for way in WAYS}


def sessions_of(calls: Sequence[Call]) -> list[Session]:
    """The sessions that were called, each once."""
    return list({id(call.session): call.session for call in calls}.values())
