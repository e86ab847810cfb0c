"""What a node's end, or a deploy, does to the sessions: seen by sessions that are in use meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.text import plain
from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.client.reply import Outcome
from mooring.doctor.evidence.timeline import by_whom, moments, timeline
from mooring.doctor.evidence.watch import Watch, WatchedPing, WatchedSession
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy

NAME: Final = "node-loss"


async def run(exam: Examination) -> Finding | NotRun:
    if exam.plan.watch_seconds is None:
        return NotRun("nobody asked to watch (--watch)")
    if not exam.sessions.opened:
        return NotRun("the server gives out no sessions")
    watch = Watch(exam)
    try:
        await watch.run(exam.plan.watch_seconds)
    except asyncio.CancelledError:
        # The operator's way to end a watch; what was seen is the result.
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
    return judge(watch.watched, watch.new_sessions, watch.seconds, exam.proxy)


def fate(seen: Sequence[WatchedPing]) -> str:
    """What became of a session: `untouched`, `recovered`, `lost` or `failing`."""
    failed = [one for one in seen if one.outcome is not Outcome.REACHED]
    if not failed:
        return "untouched"
    last = seen[-1].outcome
    if last is Outcome.REACHED:
        return "recovered"
    return "lost" if last is Outcome.LOST else "failing"


def outage_seconds(seen: Sequence[WatchedPing]) -> float:
    """The longest time from the first failed ping of a series to the end of the next that worked, or to the last."""
    longest, since = 0.0, None
    for one in seen:
        if one.outcome is Outcome.REACHED and since is None:
            continue
        since = one.at_seconds if since is None else since
        longest = max(longest, one.at_seconds + one.took_seconds - since)
        if one.outcome is Outcome.REACHED:
            since = None
    return longest


def judge(
    watched: Sequence[WatchedSession],
    new_sessions: Sequence[tuple[float, bool, str]],
    seconds: float,
    proxy: Proxy | None = None,
) -> Finding:
    """The verdict on what the sessions saw."""
    fates = Counter(fate(one.seen) for one in watched)
    pings = [one for session in watched for one in session.seen]
    failed = [one for one in pings if one.outcome is not Outcome.REACHED]
    labels = Counter(one.label for one in failed)
    evidence = _evidence(watched, new_sessions, seconds)
    streams = sum(len(one.streams_ended) for one in watched)
    also = f" {streams} streams ended meanwhile." if streams else ""
    lines = tuple(timeline(moments(watched, new_sessions, seconds)))
    whom = _by_whom(failed)
    gone = fates["lost"] + fates["failing"]
    if gone:
        word = "were lost" if fates["lost"] else "do not answer"
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"{gone} of {len(watched)} sessions {word}: {labels.most_common(1)[0][0]}",
            "Sessions die with their node here, and the official clients do not open new ones by themselves: every "
            f"later call of theirs fails until a person reconnects them.{also}{whom}",
            evidence,
            (advice(Topic.SURVIVAL, proxy),),
            lines,
        )
    if failed:
        longest = max(outage_seconds(one.seen) for one in watched)
        return Finding(
            NAME,
            Verdict.WARNING,
            f"no session was lost; {fates['recovered']} had failed calls for up to {longest:.1f} s",
            "A client's call that meets this fails with it, and the Python SDK 1.x does not survive a 502 or a reset."
            f" Most common: {labels.most_common(1)[0][0]}.{also}{whom}",
            evidence,
            (advice(Topic.FAILOVER, proxy),),
            lines,
        )
    return Finding(
        NAME,
        Verdict.OK,
        f"no call of {len(watched)} sessions failed in {seconds:.0f} s ({len(pings)} calls)",
        f"If a node was stopped meanwhile, no client noticed.{also}",
        evidence,
        (),
        lines,
    )


def _by_whom(failed: Sequence[WatchedPing]) -> str:
    """Whether it was the load balancer or a node that gave each kind of failure."""
    parts = [
        f"`{label}` came from {' and '.join(f'{by} ({count})' for by, count in of_label.items())}"
        for label, of_label in list(by_whom(failed).items())[:3]
    ]
    return f" Who answered: {'; '.join(parts)}." if parts else ""


def _evidence(
    watched: Sequence[WatchedSession], new_sessions: Sequence[tuple[float, bool, str]], seconds: float
) -> dict[str, Any]:
    pings = [one for session in watched for one in session.seen]
    failed = [one for one in pings if one.outcome is not Outcome.REACHED]
    return {
        "watched_seconds": round(seconds, 1),
        "calls": len(pings),
        "failed": len(failed),
        "fates": dict(Counter(fate(one.seen) for one in watched)),
        "errors": dict(Counter(one.label for one in failed).most_common(5)),
        "slowest_seconds": round(max((one.took_seconds for one in pings), default=0.0), 3),
        "new_sessions_after_loss": {
            "tried": len(new_sessions),
            "opened": sum(opened for _, opened, _ in new_sessions),
        },
        "answered_by": by_whom(pings),
        "sessions": [_as_json(one) for one in watched],
    }


def _as_json(one: WatchedSession) -> dict[str, Any]:
    failed = [seen for seen in one.seen if seen.outcome is not Outcome.REACHED]
    return {
        "session": plain(brief(one.session.id)),
        "way": one.way.key,
        "fate": fate(one.seen),
        "calls": len(one.seen),
        "failed": len(failed),
        "first_failure_seconds": round(failed[0].at_seconds, 1) if failed else None,
        "outage_seconds": round(outage_seconds(one.seen), 1),
        "errors": dict(Counter(seen.label for seen in failed).most_common(3)),
        "streams_ended": [{"seconds": round(at, 1), "how": str(end)} for at, end in one.streams_ended],
    }


CHECK: Final = Check(
    NAME,
    "what do sessions see while a node is killed or redeployed? (with --watch, instead of the other checks)",
    run,
    is_reading=True,
    sessions_to_open=Watch.most_sessions,
)
