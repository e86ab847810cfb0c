"""In what the failing of some requests has its reason, as far as the failing ones and the others differ.

Of every kind of failure, the first line that fits counts:

    fails exactly              pattern
    all                        ALWAYS
    on connections that did    OTHER_CONNECTION
    not open the session
    without cookies; with      NO_COOKIE; COOKIE
    with one node's mark       NODE
    the later of all           SINCE     after a moment, or after so many
    the first of all           UNTIL     as by a server that is still starting
    within one span of time    SPELL
    in some sessions, always   SESSION
    every second, third, …     TURN
    none of these              SOMETIMES
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

_NEARLY: Final = 0.9
"""Of what is expected to fail, so much does."""
_LEAST: Final = 3
"""With fewer failures than that in a row, a moment is no pattern."""
_TURNS: Final = (2, 3, 4, 5)


class Where(enum.StrEnum):
    """What the failing requests have in common, and the others have not."""

    ALWAYS = "always"
    OTHER_CONNECTION = "other_connection"
    NO_COOKIE = "no_cookie"
    COOKIE = "cookie"
    NODE = "node"
    SINCE = "since"
    UNTIL = "until"
    SPELL = "spell"
    SESSION = "session"
    TURN = "turn"
    SOMETIMES = "sometimes"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Attributes:
        failed: in the way that is looked at.
        at_seconds: when it was sent.
        session: which one; None where it was of none.
        node: that answered, where something tells.
        cookies, same_connection: how it was sent; None where that plays no part.
    """

    failed: bool
    at_seconds: float = 0.0
    session: Hashable = None
    node: str | None = None
    cookies: bool | None = None
    same_connection: bool | None = None


@dataclass(frozen=True, slots=True)
class FailurePattern:
    """
    Attributes:
        node: whose answers failed, for NODE.
        passed: how many had passed before, for SINCE.
        seconds: for SINCE and UNTIL the moment, for SPELL how long it took.
        turn: every so many-th, for TURN.
    """

    where: Where
    failed: int
    total: int
    node: str = ""
    passed: int = 0
    seconds: float = 0.0
    turn: int = 0


def failure_pattern(samples: Sequence[Sample], in_turn: Sequence[bool] = ()) -> FailurePattern:
    """What the failing ones have in common.

    Args:
        in_turn: whether each of some requests failed that were sent strictly one after the other.
    """
    ordered = sorted(samples, key=lambda sample: sample.at_seconds)
    failed, total = sum(sample.failed for sample in ordered), len(ordered)

    def found(where: Where, **more: object) -> FailurePattern:
        return FailurePattern(where, failed, total, **more)  # type: ignore[arg-type]

    if failed == total:
        return found(Where.ALWAYS)
    if _exactly(ordered, lambda one: one.same_connection is False):
        return found(Where.OTHER_CONNECTION)
    if _exactly(ordered, lambda one: one.cookies is False):
        return found(Where.NO_COOKIE)
    if _exactly(ordered, lambda one: one.cookies is True):
        return found(Where.COOKIE)
    for node in sorted({one.node for one in ordered if one.failed and one.node is not None}):
        if _exactly(ordered, lambda one, node=node: one.node == node):  # type: ignore[misc]
            return found(Where.NODE, node=node)
    first = next(number for number, one in enumerate(ordered) if one.failed)
    last = max(number for number, one in enumerate(ordered) if one.failed)
    if failed >= _LEAST and all(one.failed for one in ordered[first:]):
        return found(Where.SINCE, passed=first, seconds=ordered[first].at_seconds)
    if failed > 1 and last == failed - 1 and total - failed >= _LEAST:
        return found(Where.UNTIL, seconds=ordered[last + 1].at_seconds)
    if _is_spell(ordered, first, last):
        return found(Where.SPELL, seconds=ordered[last].at_seconds - ordered[first].at_seconds)
    if _is_by_session(ordered):
        return found(Where.SESSION)
    turn = turn_of(in_turn)
    return found(Where.TURN, turn=turn) if turn else found(Where.SOMETIMES)


def _exactly(samples: Sequence[Sample], expected: Callable[[Sample], bool]) -> bool:
    """None fails but those, and of those nearly all; more than one of either."""
    inside = [sample.failed for sample in samples if expected(sample)]
    outside = [sample.failed for sample in samples if not expected(sample)]
    return len(inside) > 1 and len(outside) > 1 and not any(outside) and sum(inside) >= _NEARLY * len(inside)


def _is_spell(samples: Sequence[Sample], first: int, last: int) -> bool:
    """Some before and after it pass, and within it next to none."""
    within = samples[first : last + 1]
    return (
        len(within) >= _LEAST
        and first > 1
        and last < len(samples) - 2
        and sum(sample.failed for sample in within) >= _NEARLY * len(within)
    )


def _is_by_session(samples: Sequence[Sample]) -> bool:
    by_session: dict[Hashable, list[bool]] = {}
    for sample in samples:
        if sample.session is not None:
            by_session.setdefault(sample.session, []).append(sample.failed)
    several = [failed for failed in by_session.values() if len(failed) > 1]
    return len(several) > 1 and all(len(set(failed)) == 1 for failed in several) and len(several) == len(by_session)


def turn_of(in_turn: Sequence[bool]) -> int:
    """Every how many-th fails; 0 where it is not regular."""
    for turn in _TURNS:
        if len(in_turn) < 3 * turn:
            break
        for offset in range(turn):
            if all(failed == (number % turn == offset) for number, failed in enumerate(in_turn)):
                return turn
    return 0
