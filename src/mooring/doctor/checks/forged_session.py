"""Whether ids made from a real one, odd ones and doubled ones are refused, without harm to any node.

any id is served, also an invented one   cannot tell: see `unknown-session`
an invented one fails, each time         cannot tell: see `unknown-session`
one that was made from a real one is     broken: sessions can be forged
a 5xx, a hang, a cut connection          broken: what anybody may send makes something fail
any 4xx                                  right; some proxy or node may have refused it before the server saw it
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled
from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import Way
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.forged_ids import altered, invented_like, odd_ids, same_beginning
from mooring.doctor.evidence.question import ask_with_retry, with_one_retry
from mooring.doctor.evidence.refusal_kinds import RefusalKind, refusal_kind
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "forged-session"
_TIMES: Final = 4
_INVENTED: Final = "invented"
"""Not made from a real one: where these are served, any id is."""
_DOUBLED: Final = ("real_then_invented", "invented_then_real")
_NAMES: Final = {
    _INVENTED: "that nobody gave out",
    "altered": "with its last character changed",
    "same_beginning": "with the first part of a real one",
    "too_long": "of 4,000 characters",
    "path": "like a path",
    "percent": "with percent signs",
    "spaces": "with a space",
    "quotes": "with quotes",
    "real_then_invented": "in two headers, the real one first",
    "invented_then_real": "in two headers, the real one last",
}
"""Each behind `a session id`."""
_HARM: Final = frozenset({RefusalKind.FAILED, RefusalKind.HANG, RefusalKind.CUT})


@dataclass(frozen=True, slots=True)
class Attempts:
    """
    Attributes:
        replies: forgery -> what came back, each time over a new connection.
        control: replies to pings in a session that is there, sent after all of it.
    """

    replies: Mapping[str, Sequence[Reply]]
    control: Sequence[Reply]


async def run(exam: Examination) -> Finding | NotRun:
    session = exam.first
    if session is None:
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    invented = invented_like(session.id)
    forged = {
        _INVENTED: [invented],
        "altered": [altered(session.id)],
        **{name: [one] for name, one in [("same_beginning", same_beginning(session.id))] if one is not None},
        **{name: [one] for name, one in odd_ids().items()},
        **dict(zip(_DOUBLED, ([session.id, invented], [invented, session.id]), strict=True)),
    }
    answers = await asyncio.gather(*(_try(exam, session, ids) for ids in forged.values()))
    replies = dict(zip(forged, answers, strict=True))
    if not all(answers):
        return failing_anyway(NAME, exam)
    return judge(Attempts(replies, [await ask_with_retry(exam) for _ in range(_TIMES)]), exam.show)


async def _try(exam: Examination, session: Session, ids: Sequence[str]) -> list[Reply]:
    """Some replies to the same forgery, one after the other."""
    return telling_replies(exam, [await with_one_retry(partial(_send, exam, session, ids)) for _ in range(_TIMES)])


async def _send(exam: Examination, session: Session, ids: Sequence[str]) -> Reply:
    """With the session's cookies, which lead to the node that would know the real id."""
    headers = exam.sessions.headers(session, Way(cookies=True, one_connection=False))
    others = [(name, value) for name, value in headers.items() if name != protocol.SESSION]
    message = protocol.request(exam.next_id(), "ping")
    doubled = [(protocol.SESSION, session_id) for session_id in ids]
    return await exam.wire.send("POST", message=message, headers=[*others, *doubled])


def judge(attempts: Attempts, show: Show) -> Finding:
    """The verdict."""
    evidence: dict[str, object] = {
        "answers": {
            name: dict(Counter(reply.status_key for reply in replies)) for name, replies in attempts.replies.items()
        }
    }
    kinds = {name: {refusal_kind(reply) for reply in replies} for name, replies in attempts.replies.items()}
    served = [name for name, found in kinds.items() if RefusalKind.SERVED in found and name not in _DOUBLED]
    harmful = [name for name, found in kinds.items() if found & _HARM]
    if _INVENTED in served:
        says = "any session id is served here, so none has to be forged"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `unknown-session`.", evidence)
    if served:
        return _served(served, evidence)
    if _INVENTED in harmful and kinds[_INVENTED] <= _HARM:
        says = f"any unknown session id is answered so: {show(attempts.replies[_INVENTED][0].label)}"
        return Finding(NAME, Verdict.UNKNOWN, says, "See the check `unknown-session`.", evidence)
    if harmful and all(reply.outcome in (Outcome.REACHED, Outcome.LOST) for reply in attempts.control):
        worst = next(reply for reply in attempts.replies[harmful[0]] if refusal_kind(reply) in _HARM)
        return Finding(
            NAME,
            Verdict.BROKEN,
            f"something fails on a session id {_NAMES[harmful[0]]}: {show(worst.label)}",
            "Whatever is in that header, the answer is a 404 or a 400. A 5xx makes proxies take the node for a failing "
            f"one, and anybody can send it. It fails on a session id {_listed(harmful)}.",
            evidence,
            (Change("Look for these requests in the server's and the proxy's log, at the time of this run."),),
        )
    if harmful:
        return Finding(NAME, Verdict.UNKNOWN, "calls fail in a session that is there, too", evidence=evidence)
    if any(RefusalKind.THROTTLED in found for found in kinds.values()):
        return throttled(NAME, evidence)
    return Finding(
        NAME, Verdict.OK, "altered, overlong and odd session ids are all refused", _on_doubled(kinds), evidence
    )


def _listed(names: Sequence[str]) -> str:
    return "; ".join(_NAMES[name] for name in names)


def _served(served: Sequence[str], evidence: dict[str, object]) -> Finding:
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"a session id {_NAMES[served[0]]} is served",
        "Anyone who has seen one id can make others, or part of the id means nothing: a session is only as safe as the "
        f"part of its id that is checked. Served is a session id {_listed(served)}.",
        evidence,
        (
            Change(
                "Compare the whole id with those that were given out, or sign it and check the signature over all of "
                "it; make ids by a cryptographic random generator (2025-11-25, Transports: Session Management)."
            ),
        ),
    )


def _on_doubled(kinds: Mapping[str, set[RefusalKind]]) -> str:
    """A remark: anyone who sends two ids has the real one anyway, but a proxy may route by the other."""
    taken = [name for name in _DOUBLED if RefusalKind.SERVED in kinds.get(name, set())]
    if not taken:
        return ""
    which = "first" if taken == ["real_then_invented"] else "last" if taken == ["invented_then_real"] else "right"
    return (
        f"Of two Mcp-Session-Id headers in one request the server takes the {which} one. No client sends two; a proxy "
        "that routes by the other one would miss the node."
    )


CHECK: Final = Check(NAME, "are altered and odd session ids refused, without harm?", run, needs_sessions=True)
