"""The verdict on calls to a server that gives out no sessions: any node may answer them, and does each?"""

from __future__ import annotations

import asyncio
from collections import Counter

from mooring.doctor.checks.cannot_tell import ASK_FOR_LESS, RATE_IS_LIMITED
from mooring.doctor.client.reply import Outcome
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict


async def judge_without_sessions(check: str, exam: Examination) -> Finding:
    """Make some calls, and judge whether all of them are answered."""
    exam.listener.step("affinity: calls without a session")
    count = max(2, exam.plan.calls)
    replies = await asyncio.gather(*(exam.call_without_session() for _ in range(count)))
    reached = sum(reply.outcome is Outcome.REACHED for reply in replies)
    failed = Counter(exam.show(reply.label) for reply in replies if reply.outcome is not Outcome.REACHED)
    evidence = {"sessions": 0, "calls": count, "reached": reached, "errors": dict(failed.most_common(4))}
    if reached == count:
        return Finding(
            check,
            Verdict.OK,
            f"no sessions, so no affinity is needed: {reached} of {count} calls answered",
            "State that the server keeps in its process and names by a handle or a task id cannot be seen from here.",
            evidence,
        )
    says = f"{count - reached} of {count} calls without a session failed: {failed.most_common(1)[0][0]}"
    if all(reply.outcome in (Outcome.REACHED, Outcome.THROTTLED) for reply in replies):
        return Finding(check, Verdict.UNKNOWN, says, RATE_IS_LIMITED, evidence, (ASK_FOR_LESS,))
    return Finding(
        check,
        Verdict.BROKEN,
        says,
        "The answer to `initialize` names no session, so every node has to answer every call.",
        evidence,
        (Change("Run the server without sessions on every node (`stateless_http=True` in the Python SDK)."),),
    )
