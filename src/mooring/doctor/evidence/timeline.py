"""What a watch saw, in the order of time: the seconds in which something changed, each in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mooring.doctor.client.reply import Outcome
from mooring.doctor.evidence.answered_by import AnsweredBy
from mooring.doctor.evidence.watch import WatchedPing, WatchedSession


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of a watch."""

    second: int
    answered: int
    failed: Counter[tuple[str, AnsweredBy]]
    streams_ended: int = 0
    opened: tuple[bool, ...] = ()
    versions: tuple[str, ...] = ()


def moments(
    watched: Sequence[WatchedSession], new_sessions: Sequence[tuple[float, bool, str]], seconds: float
) -> list[Moment]:
    """Every second of the watch."""
    pings = [ping for session in watched for ping in session.seen]
    ended = [at for session in watched for at, _ in session.streams_ended]
    found = []
    for second in range(int(seconds) + 1):
        here = [ping for ping in pings if int(ping.at_seconds) == second]
        new = [one for one in new_sessions if int(one[0]) == second]
        found.append(
            Moment(
                second=second,
                answered=sum(ping.outcome is Outcome.REACHED for ping in here),
                failed=Counter((ping.label, ping.by) for ping in here if ping.outcome is not Outcome.REACHED),
                streams_ended=sum(int(at) == second for at in ended),
                opened=tuple(opened for _, opened, _ in new),
                versions=tuple(dict.fromkeys(version for _, opened, version in new if opened and version)),
            )
        )
    return found


def timeline(all_moments: Iterable[Moment]) -> list[str]:
    """A line for each change: what fails from then on, by whom, and when it is over."""
    lines, last, version = list[str](), None, ""
    for moment in all_moments:
        at = f"{moment.second:>4} s  "
        if moment.streams_ended:
            lines.append(f"{at}{moment.streams_ended} {'stream' if moment.streams_ended == 1 else 'streams'} ended")
        state = tuple(sorted(moment.failed))
        has_answers = bool(moment.answered or state)  # a second in which nothing came tells nothing
        if has_answers and state != last and (state or last):
            lines.append(at + (_failing(moment) if state else "all calls are answered again"))
        if has_answers:
            last = state
        if moment.opened:
            opened = sum(moment.opened)
            lines.append(f"{at}{opened} of {len(moment.opened)} new sessions opened")
        for one in moment.versions:
            if version and one != version:
                lines.append(f"{at}new sessions meet version {one}, before it was {version}")
            version = one
    return lines


def _failing(moment: Moment) -> str:
    parts = [f"{label} from {by} ({count})" for (label, by), count in moment.failed.most_common(3)]
    return f"calls fail: {', '.join(parts)}; {moment.answered} are answered"


def by_whom(pings: Iterable[WatchedPing]) -> dict[str, dict[str, int]]:
    """Failure -> who gave it -> how often."""
    counts: dict[str, dict[str, int]] = {}
    for ping in pings:
        if ping.outcome is not Outcome.REACHED:
            of_label = counts.setdefault(ping.label, {})
            of_label[str(ping.by)] = of_label.get(str(ping.by), 0) + 1
    return counts
