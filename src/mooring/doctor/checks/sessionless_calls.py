"""The verdict on calls to a server that gives out no sessions: any node may answer them, and does each?"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks.cannot_tell import ASK_FOR_LESS, RATE_IS_LIMITED
from mooring.doctor.client.reply import Outcome
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict


async def judge_without_sessions(check: str, exam: Examination) -> Finding:
    """Make some calls, and judge whether all of them are answered."""
    if exam.eras.id_is_lost:
        return judge_lost_id(check, exam)
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
    kinds = Counter(reply.outcome for reply in replies if reply.outcome is not Outcome.REACHED)
    why, change = _WHY.get(kinds.most_common(1)[0][0], _OTHERWISE)
    return Finding(
        check,
        Verdict.BROKEN,
        says,
        f"The answer to `initialize` names no session, so every node has to answer every call. {why}",
        evidence,
        (Change(change),),
    )


_OTHERWISE: Final = ("What failed may be a node, or the way to it.", "Look at the proxy's and the server's log.")
_WHY: Final = {
    Outcome.LOST: (
        "Some ask for a session, as a server does that keeps them: the nodes do not run the same server, or with "
        "different settings.",
        "Run the same server with the same settings on every node (`stateless_http=True` in the Python SDK on all, or "
        "on none).",
    ),
    Outcome.LOGIN: (
        "Others are served with the same token, or with none: a node's settings for it differ.",
        "Compare the settings for tokens on all nodes.",
    ),
    Outcome.UNAVAILABLE: (
        "A node that is down, and gets its share of requests all the same, looks like this.",
        "Let the load balancer check the health of its nodes, and look at those that it gives up.",
    ),
}


def judge_lost_id(check: str, exam: Examination) -> Finding:
    """The server keeps sessions, and clients never learn their id."""
    header = exam.show(exam.eras.id_header) if exam.eras.id_header else ""
    where = f"; something like it comes as {header}" if header else ""
    count = exam.sessions.unseen
    return Finding(
        check,
        Verdict.BROKEN,
        f"the session id is lost on its way out: no Mcp-Session-Id comes with `initialize`{where}",
        "The server does keep sessions: a call that names none is refused. A client takes it for a server without "
        f"them, and none of its calls is served. Up to {count} sessions were opened to find this out, and cannot be "
        "closed, since nobody here knows their ids.",
        {"sessions": 0, "unseen": count, "id_header": header or None},
        (advice(Topic.SESSION_HEADER, exam.proxy),),
    )
