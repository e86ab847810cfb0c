"""Whether a session can be used by nobody but the principal that opened it.

own token   other token   no token     verdict
refused     -             -            cannot tell
served      served        -            broken
served      -             served       broken
served      404           -            ok: as unknown as a session that never was
served      401, 403      -            ok where the other token is good by itself, else unknown
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked, where_to_look
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.session import Session
from mooring.doctor.evidence.forged_ids import invented_like
from mooring.doctor.evidence.question import ask_in, ask_with_retry
from mooring.doctor.evidence.token_claims import same_principal
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "principals"
_REFUSED: Final = frozenset({Outcome.LOST, Outcome.LOGIN})


@dataclass(frozen=True, slots=True)
class Replies:
    """To the same ping in the same session, but for the token.

    Attributes:
        own: with the token that opened it.
        other: with the second token.
        nobody: without any; None where the operator's own headers carry a login.
        control: to the second token, where no session of anybody is asked for.
    """

    own: Reply
    other: Reply
    nobody: Reply | None
    control: Reply


async def run(exam: Examination) -> Finding | NotRun:
    tokens, session = exam.plan.tokens, exam.first
    if len(tokens) < 2:
        return NotRun("two tokens are needed: give --token-env twice")
    if same_principal(tokens[0], tokens[1]):
        return NotRun("both tokens are of the same principal")
    if session is None:
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    has_login = any(name.lower() == "authorization" for name, _ in exam.plan.headers)
    replies = Replies(
        own=await ask_with_retry(exam),
        other=await ask_with_retry(exam, token=1),
        nobody=None if has_login else await ask_with_retry(exam, token=None),
        control=await _control(exam, session),
    )
    return judge(replies, exam.show)


async def _control(exam: Examination, session: Session) -> Reply:
    """Something that opens no session: a discovery, or else a ping in a session that nobody has, which is 404."""
    if exam.eras.modern:
        return await exam.modern("server/discover", token=1)
    return await ask_in(exam, invented_like(session.id), session.version, token=1)


def judge(replies: Replies, show: Show) -> Finding:
    """The verdict."""
    evidence = {
        "own_token": replies.own.status_key,
        "other_token": replies.other.status_key,
        "no_token": replies.nobody.status_key if replies.nobody is not None else None,
        "other_token_elsewhere": replies.control.status_key,
    }

    def found(verdict: Verdict, says: str, why: str = "", change: str = "") -> Finding:
        return Finding(NAME, verdict, says, why, evidence, (Change(change),) if change else ())

    if replies.own.outcome is not Outcome.REACHED:
        says = f"its own token does not reach the session: {show(replies.own.label)}"
        return found(Verdict.UNKNOWN, says, where_to_look(replies.own))
    if replies.nobody is not None and replies.nobody.outcome is Outcome.REACHED:
        return found(
            Verdict.BROKEN,
            "a session that was opened with a token can be used without any",
            "Whoever learns a session id, from a log or a proxy, has the session with all that its owner may do.",
            "Ask for the token on every request, not on `initialize` alone, and compare it with the one that "
            "opened the session.",
        )
    if replies.other.outcome is Outcome.REACHED:
        return found(
            Verdict.BROKEN,
            "another principal's token can use a session that it did not open",
            "Whoever learns a session id, from a log or a proxy, has the session with all that its owner may do, with "
            "a token of their own. (Where both tokens are of one principal, this is as it should be.)",
            "Note the principal (issuer, subject, client) at `initialize`, and answer 404 to any other. The login of "
            "the Python SDKs does it; so does Mooring, for whatever login sets the user in the ASGI scope.",
        )
    if replies.control.outcome is Outcome.LOGIN:
        return found(Verdict.UNKNOWN, f"the second token is refused altogether: {show(replies.control.label)}")
    if replies.other.outcome is Outcome.LOST:
        return found(Verdict.OK, f"the session is unknown to another principal's token: {show(replies.other.label)}")
    if replies.other.outcome in _REFUSED:
        remark = "A 404 would not tell a stranger that there is such a session."
        return found(Verdict.OK, f"another principal's token is refused: {show(replies.other.label)}", remark)
    return found(Verdict.UNKNOWN, f"the call with the second token failed: {show(replies.other.label)}")


CHECK: Final = Check(NAME, "can only its own principal use a session?", run, needs_sessions=True, is_reading=True)
