"""Whether a session id that nobody gave out is answered as one whose session is gone: with 404, by every node."""

from __future__ import annotations

import asyncio
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.sessions import Session
from mooring.doctor.evidence.gone import Answers, Manner, Show, counted, judge_refusals, manner_of
from mooring.doctor.evidence.impostors import alike
from mooring.doctor.evidence.inquiry import ask_in, ask_twice, head, not_asked, telling, twice, untold
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict

NAME: Final = "unknown-session"
_TIMES: Final = 6
"""Over a connection each: nodes may differ."""


async def run(exam: Examination) -> Finding | NotRun:
    session = exam.first
    if session is None:
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME)
    answers = {
        method: telling(exam, await asyncio.gather(*(_send_twice(exam, session, method) for _ in range(_TIMES))))
        for method in ("POST", "GET", "DELETE")
    }
    if not answers["POST"]:
        return untold(NAME, exam)
    return judge(answers, await ask_twice(exam), exam.show)


async def _send_twice(exam: Examination, session: Session, method: str) -> Reply:
    return await twice(lambda: _send(exam, session, method))


async def _send(exam: Examination, session: Session, method: str) -> Reply:
    """A new id each time, since a load balancer may go by it."""
    invented = alike(session.id)
    headers = {protocol.SESSION: invented, protocol.VERSION: session.version}
    if method == "GET":
        return await head(exam, method, {**headers, "Accept": protocol.EVENT_STREAM})
    if method == "POST":
        return await ask_in(exam, invented, session.version)
    return await exam.wire.send(method, headers=headers)


def judge(answers: Answers, control: Reply, show: Show) -> Finding:
    """The verdict.

    Args:
        control: the reply to a ping in a session that is there.
    """
    if {manner_of(reply) for reply in answers["POST"]} != {Manner.SERVED}:
        return judge_refusals(NAME, "an unknown session", answers, control, show)
    return Finding(
        NAME,
        Verdict.WARNING,
        "a session id that nobody gave out is served",
        "Either the nodes keep no sessions though they hand out ids, or whoever sends an id gets a session of that "
        "name. A client whose session is lost never learns of it.",
        counted(answers, show),
        (
            Change(
                "Hand out no session ids where no sessions are kept (`stateless_http=True` in the Python SDK, "
                "`sessionIdGenerator: undefined` in the TypeScript SDK); else answer 404 where the id is unknown."
            ),
        ),
    )


CHECK: Final = Check(NAME, "is an unknown session answered with 404, by every node?", run, needs_sessions=True)
