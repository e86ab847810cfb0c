"""Whether each call reaches the node that holds its session, for every kind of client.

The calls are made in each of four ways; `call_pattern` tells what fails in which of them.

    calls                                       verdict
    any is lost                                 broken, by its pattern: `lost_calls`
    all of them fail by a limit on their rate   unknown
    some fail in another way                    a warning where they are few, else broken
    all reach their session                     ok
    there are no sessions                       whether any node answers: `sessionless_calls`
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import ASK_FOR_LESS, RATE_IS_LIMITED
from mooring.doctor.checks.lost_calls import judge_lost
from mooring.doctor.checks.sessionless_calls import judge_without_sessions
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.sessions import Session
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.evidence.call_pattern import CallTally, pattern_of, sessions_of, tally_by_way
from mooring.doctor.evidence.failing_calls import FEW
from mooring.doctor.examination import Call, Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict

NAME: Final = "affinity"
WAY_SECONDS: Final = 10.0
"""For the calls of one way; a slow deployment gets fewer calls in each rather than none in the last."""


async def run(exam: Examination) -> Finding | NotRun:
    if not exam.sessions.opened:
        return await judge_without_sessions(NAME, exam)
    await _measure(exam)
    return judge(exam)


async def _measure(exam: Examination) -> None:
    """Make the calls, one way after the other: mixed, a turn of the load balancer could fall in step with them."""
    sessions = tuple(exam.sessions.opened)
    seconds = max(WAY_SECONDS, exam.plan.timeout_seconds + 1.0)
    for number, way in enumerate(WAYS, 1):
        exam.listener.step(f"affinity: {way.name} ({number} of {len(WAYS)})")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(_use(exam, session, way) for session in sessions))
        if all(call.reply.outcome is Outcome.HANG for call in exam.calls):
            exam.hangs = True
            return


async def _use(exam: Examination, session: Session, way: Way) -> None:
    for _ in range(exam.plan.calls):
        reply = await exam.call(session, way)
        exam.calls.append(Call(session, way, reply))
        if reply.outcome is Outcome.HANG:
            return


def judge(exam: Examination) -> Finding:
    """The verdict on the calls that were made."""
    calls = exam.calls
    total = CallTally.of(calls)
    by_way = tally_by_way(calls)
    evidence = {
        "sessions": len(sessions_of(calls)),
        "calls": total.calls,
        "reached": total.reached,
        "ways": {
            way.key: {
                "calls": tally.calls,
                "reached": tally.reached,
                "errors": {exam.show(label): count for label, count in tally.labels.most_common(4)},
            }
            for way, tally in by_way.items()
            if tally.calls
        },
    }
    if not calls:
        return Finding(NAME, Verdict.UNKNOWN, "no call could be made in time", evidence=evidence)
    if total.lost:
        return judge_lost(NAME, exam, pattern_of(calls), by_way, evidence)
    failed = total.calls - total.reached
    if not failed:
        return Finding(
            NAME,
            Verdict.OK,
            f"{total.reached} of {total.calls} calls reached their session, with and without cookies",
            evidence=evidence,
        )
    return _failed(exam, total, evidence)


def _failed(exam: Examination, total: CallTally, evidence: dict[str, object]) -> Finding:
    """No session was lost, and some calls have failed all the same."""
    failed = total.calls - total.reached
    others = failed - total.outcomes[Outcome.THROTTLED]
    label, _ = total.labels.most_common(1)[0]
    says = f"{failed} of {total.calls} calls failed: {exam.show(label)}"
    if not others:
        return Finding(NAME, Verdict.UNKNOWN, says, RATE_IS_LIMITED, evidence, (ASK_FOR_LESS,))
    if not total.reached and total.outcomes[Outcome.HANG] == failed:
        why = "The server opens sessions and then does not answer within them."
    elif total.outcomes[Outcome.HANG] == failed:
        why = "Other calls in the same sessions were answered: the server, a node or the way to it stalls."
    else:
        why = "No call met a node that did not know its session; what failed is the way to the node, or the server."
    return Finding(
        NAME,
        Verdict.WARNING if others / total.calls <= FEW else Verdict.BROKEN,
        says,
        why,
        evidence,
        (Change("Look at the proxy's and the server's log at the time of this run."),),
    )


CHECK: Final = Check(
    NAME,
    "does each call reach the node that holds its session, for every client?",
    run,
    is_reading=True,
    is_essential=True,
    goes_first=True,
    guards_watch=True,
)
