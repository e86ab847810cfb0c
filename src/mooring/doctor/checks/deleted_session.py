"""Whether a session that its client has ended is gone, on every node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled
from mooring.doctor.checks.refusals import judge_refusals
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.ways import HOME, Way
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.forged_ids import invented_like
from mooring.doctor.evidence.question import ask_in, ask_with_retry, with_one_retry
from mooring.doctor.evidence.refusal_kinds import RefusalKind, counted, refusal_kind
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "deleted-session"
_TIMES: Final = 8
_LEFT: Final = (
    "So a session that its client leaves stays on its node until the server's own idle timeout: 30 minutes by default "
    "in the Python SDKs, for ever in many others."
)


async def run(exam: Examination) -> Finding | NotRun:
    session = exam.last
    if session is None:
        return NotRun("it takes a session of its own, and there is one only")
    if exam.hangs:
        return not_asked(NAME, exam)
    closing = await exam.sessions.close(session)
    if closing.status == 405:
        return judge(closing, (), closing, exam.show)
    ways = [HOME, *(Way(cookies, one_connection=False) for cookies in (True, False) for _ in range(_TIMES))]
    asked = [with_one_retry(partial(exam.sessions.ping, session, way)) for way in ways]
    after = telling_replies(exam, await asyncio.gather(*asked), but_logins=True)
    if not after or not telling_replies(exam, [closing], but_logins=True):
        return failing_anyway(NAME, exam, {"delete": closing.status_key})
    strangers: Sequence[Reply] = ()
    if any(refusal_kind(reply) is RefusalKind.SERVED for reply in after):
        strangers = await asyncio.gather(
            *(ask_in(exam, invented_like(session.id), session.version) for _ in range(_TIMES))
        )
    return judge(closing, after, await ask_with_retry(exam), exam.show, strangers, exam.proxy)


def judge(
    closing: Reply,
    after: Sequence[Reply],
    control: Reply,
    show: Show,
    strangers: Sequence[Reply] = (),
    proxy: Proxy | None = None,
) -> Finding:
    """The verdict.

    Args:
        closing: the reply to DELETE.
        after: to pings in that session then; none where DELETE is not allowed.
        control: to a ping in a session that is there.
        strangers: to pings in sessions that never were, where a deleted one was served.
    """
    evidence = {"delete": closing.status_key, **counted({"POST": after}, show)}
    if closing.status == 405:
        return Finding(NAME, Verdict.OK, "clients cannot end sessions here (405, which is allowed)", _LEFT, evidence)
    if not closing.is_ok:
        return _not_closed(closing, after, control, evidence, show)
    served = sum(refusal_kind(reply) is RefusalKind.SERVED for reply in after)
    if not served:
        found = judge_refusals(NAME, "a deleted session", {"POST": after}, control, show, proxy)
        return Finding(NAME, found.verdict, found.says, found.why, evidence, found.changes)
    if any(refusal_kind(reply) is RefusalKind.SERVED for reply in strangers):
        says = "any session id is served here, that of a deleted session as well"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `unknown-session`.", evidence)
    where = "by some nodes" if served < len(after) else "by every node"
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"a deleted session is still served {where}: {served} of {len(after)} calls",
        "Its client was told that it is over. Whoever has its id can go on using it, with the rights of its "
        "owner, and it takes up room until it expires.",
        evidence,
        (
            Change(
                "End the session on the node that holds it before DELETE is answered; where nodes share sessions, or "
                "keep copies of them, on every node. See also that no proxy answers DELETE in the server's place."
            ),
        ),
    )


def _not_closed(
    closing: Reply, after: Sequence[Reply], control: Reply, evidence: dict[str, object], show: Show
) -> Finding:
    """DELETE did not do it, and was not plainly forbidden either."""
    label = show(closing.label)
    if closing.outcome is Outcome.LOST and all(reply.outcome is not Outcome.REACHED for reply in after):
        return Finding(
            NAME,
            Verdict.UNKNOWN,
            f"no node that was asked knew the session, so it could not be deleted: {label}",
            "See the check `affinity`.",
            evidence,
        )
    if closing.outcome is Outcome.THROTTLED:
        return throttled(NAME, evidence)
    if control.outcome not in (Outcome.REACHED, Outcome.LOST):
        says = f"calls fail in a session that is there, too: {show(control.label)}"
        return Finding(NAME, Verdict.UNKNOWN, says, evidence=evidence)
    met = "meets" if closing.trouble is not None else "is answered with"
    return Finding(
        NAME,
        Verdict.WARNING,
        f"clients cannot end their sessions: DELETE {met} {label}",
        f"A server that lets no client end a session answers 405. {_LEFT}",
        evidence,
        (
            Change(
                "Pass DELETE on to the server as POST is, with its Mcp-Session-Id: a list of allowed methods in the "
                "proxy or in the app's routes may lack it. A server that does not want it answers 405."
            ),
        ),
    )


CHECK: Final = Check(NAME, "is a deleted session gone, on every node?", run, needs_sessions=True, is_reading=True)
