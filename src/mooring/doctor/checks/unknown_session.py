"""Whether a session id that nobody gave out is answered as one whose session is gone: with 404, by every node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked
from mooring.doctor.checks.refusals import judge_refusals
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.session import Session
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.forged_ids import invented_like
from mooring.doctor.evidence.question import ask_in, ask_with_retry, head_of_answer, with_one_retry
from mooring.doctor.evidence.references import is_error
from mooring.doctor.evidence.refusal_kinds import Answers, RefusalKind, counted, refusal_kind
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "unknown-session"
_TIMES: Final = 6
"""Over a connection each: nodes may differ."""


async def run(exam: Examination) -> Finding | NotRun:
    session = exam.first
    if session is None:
        return NotRun("no session is open")
    if exam.sessions.sessionless:
        return NotRun("some nodes give out no sessions, and serve any id: see the check `eras`")
    if exam.hangs:
        return not_asked(NAME, exam)
    answers = {
        method: telling_replies(
            exam, await asyncio.gather(*(_send_twice(exam, session, method) for _ in range(_TIMES))), but_logins=True
        )
        for method in ("POST", "GET", "DELETE")
    }
    if not answers["POST"]:
        return failing_anyway(NAME, exam)
    if await _has_no_stream(exam, session, answers["GET"]):
        answers["GET"] = []  # it says nothing of sessions: see the check `idle`
    return judge(answers, await ask_with_retry(exam), exam.show, exam.proxy)


async def _has_no_stream(exam: Examination, session: Session, strangers: Sequence[Reply]) -> bool:
    """Whether a GET is answered in the same way in a session that is there, and not with a stream."""
    if all(refusal_kind(reply, "GET") is RefusalKind.GONE for reply in strangers):
        return False
    headers = {protocol.SESSION: session.id, protocol.VERSION: session.version, "Accept": protocol.EVENT_STREAM}
    own = await head_of_answer(exam, "GET", headers)
    return own.media_type != protocol.EVENT_STREAM and {own.status_key} == {reply.status_key for reply in strangers}


async def _send_twice(exam: Examination, session: Session, method: str) -> Reply:
    return await with_one_retry(lambda: _send(exam, session, method))


async def _send(exam: Examination, session: Session, method: str) -> Reply:
    """A new id each time, since a load balancer may go by it."""
    invented = invented_like(session.id)
    headers = {protocol.SESSION: invented, protocol.VERSION: session.version}
    if method == "GET":
        return await head_of_answer(exam, method, {**headers, "Accept": protocol.EVENT_STREAM})
    if method == "POST":
        return await ask_in(exam, invented, session.version)
    return await exam.wire.send(method, headers=headers)


def judge(answers: Answers, control: Reply, show: Show, proxy: Proxy | None = None) -> Finding:
    """The verdict.

    Args:
        control: the reply to a ping in a session that is there.
    """
    if {refusal_kind(reply) for reply in answers["POST"]} != {RefusalKind.SERVED}:
        return judge_refusals(NAME, "an unknown session", answers, control, show, proxy)
    if all(map(is_error, answers["POST"])) and not is_error(control):
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"an unknown session is answered with an error under 200; 404 is due: {show(answers['POST'][0].label)}",
            "Clients take a 404 for the end of their session, and nothing else.",
            counted(answers, show),
            (advice(Topic.MISSING_SESSION, None),),
        )
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
