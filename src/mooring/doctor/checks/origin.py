"""Whether a request from a web page of somebody else is refused (2025-11-25, Transports: Security Warning).

page of somebody else   verdict
403                     ok
any other refusal       ok, with the remark that 403 is due; a 5xx is a warning
served                  warning
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, where_to_look
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.question import ask_with_retry, can_ask
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "origin"
FOREIGN: Final = "https://mooring-doctor.invalid"
"""Nobody's (RFC 2606, section 2)."""
_SERVED: Final = (
    "Servers must refuse an Origin that is not theirs with 403 (2025-11-25, Transports: Security Warning): a page in a "
    "user's browser can call what that browser can reach, and by DNS rebinding read the answers."
)
_FAILS: Final = "Any web page can cause it, and a proxy that takes a 5xx for a failing node sends it no more requests."
_NO_ERROR: Final = Change(
    "Refuse the request with 403 instead of raising an error; Express's `cors` passes errors on as 500."
)


@dataclass(frozen=True, slots=True)
class Replies:
    """To the same call from different pages.

    Attributes:
        control: from no page.
        foreign: from a page of somebody else.
        own: from a page of the endpoint's own origin.
    """

    control: Reply
    foreign: Reply
    own: Reply


async def run(exam: Examination) -> Finding | NotRun:
    if not can_ask(exam):
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    own = str(exam.wire.url.origin())
    asked = [await ask_with_retry(exam, headers) for headers in ({}, {"Origin": FOREIGN}, {"Origin": own})]
    if not telling_replies(exam, asked[1:2]):
        return failing_anyway(NAME, exam)
    if asked[1].outcome is Outcome.UNAVAILABLE:  # is it for its Origin, or does everything fail by now?
        asked[0] = await ask_with_retry(exam)
    replies = Replies(*asked)
    return judge(replies, own, exam.proxy, exam.show)


def judge(replies: Replies, own: str, proxy: Proxy | None, show: Show) -> Finding:
    """The verdict.

    Args:
        own: the endpoint's own origin.
    """
    foreign = replies.foreign
    evidence = {
        "without_origin": replies.control.status_key,
        "foreign_origin": foreign.status_key,
        "own_origin": replies.own.status_key,
        "allows_origin": show(foreign.headers.get("Access-Control-Allow-Origin", "")),
    }

    def found(verdict: Verdict, says: str, why: str = "", changes: Sequence[Change] = ()) -> Finding:
        return Finding(NAME, verdict, says, why, evidence, tuple(changes))

    if replies.control.outcome is not Outcome.REACHED:
        says = f"calls fail without an Origin, too: {show(replies.control.label)}"
        return found(Verdict.UNKNOWN, says, where_to_look(replies.control))
    if foreign.outcome is Outcome.REACHED:
        changes = dict.fromkeys(advice(Topic.ORIGIN, one, origin=own) for one in (None, proxy))
        says = "requests from any web page are served: the Origin header is not checked"
        return found(Verdict.WARNING, says, _SERVED + _opened(foreign), tuple(changes))
    if foreign.outcome in (Outcome.THROTTLED, Outcome.HANG) or foreign.is_ok:
        return found(
            Verdict.UNKNOWN, f"the call with a foreign Origin got no answer from the server: {show(foreign.label)}"
        )
    if foreign.outcome is Outcome.UNAVAILABLE:
        return found(
            Verdict.WARNING, f"a foreign Origin is refused with {show(foreign.label)}; 403 is due", _FAILS, [_NO_ERROR]
        )
    remark = "" if foreign.status == 403 else "The specification asks for 403."
    return found(
        Verdict.OK, f"a foreign Origin is refused: {show(foreign.label)}", f"{remark} {_own_page(replies, own)}".strip()
    )


def _opened(foreign: Reply) -> str:
    allowed = foreign.headers.get("Access-Control-Allow-Origin", "")
    if allowed not in ("*", FOREIGN):
        return ""
    return " Its CORS headers let any page read the answers: if that is meant, then so is this."


def _own_page(replies: Replies, own: str) -> str:
    """A remark: no client is hurt but one that runs in a page of the same host."""
    if replies.own.status != 403:
        return ""
    return f"A page of {own} itself is refused, too: a client in a browser there needs it on the list."


CHECK: Final = Check(
    NAME, "are requests from other people's web pages refused?", run, is_reading=True, is_of_rules=True
)
