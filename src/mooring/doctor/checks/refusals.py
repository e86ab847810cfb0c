"""The verdict on how a session that is not there is refused, and what each wrong way of doing so does to clients.

kind       verdict
GONE       right; a warning where only a GET is refused in another way
SERVED     the check's own, where nothing else came
THROTTLED  cannot tell
others     broken; cannot tell where calls in a session that is there fail as well
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks.cannot_tell import throttled
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.refusal_kinds import Answers, RefusalKind, counted, refusal_kind
from mooring.doctor.findings import Change, Finding, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

_LOGS: Final = Change("Look at the server's and the proxy's log at the time of this run.")
_EFFECTS: Final[dict[RefusalKind, str]] = {
    RefusalKind.SERVED: "Where it is served, its client does not learn that its session is gone.",
    RefusalKind.BAD: "On a 404 clients open a new session: VS Code does so on a 400 as well, others, such as "
    "mcp-remote, on a 404 only, and are stuck.",
    RefusalKind.LOGIN: "A 401 sends clients into a login loop though their token is good, and a 403 leaves them stuck.",
    RefusalKind.FAILED: "A 502 or 503 kills the client of Python's SDK 1.x; none takes a 5xx for the end of its "
    "session, so none opens a new one.",
    RefusalKind.HANG: "The client waits until its own time limit, and does not learn that its session is gone.",
    RefusalKind.CUT: "A cut connection kills the client of Python's SDK 1.x, and tells none that its session is gone.",
    RefusalKind.OTHER: "Clients take a 404 for the end of their session, and nothing else.",
}
"""What each wrong kind does to clients."""


def judge_refusals(
    check: str, what: str, answers: Answers, control: Reply, show: Show, proxy: Proxy | None = None
) -> Finding:
    """The verdict where no POST was served.

    Args:
        what: `an unknown session`, or `a deleted session`.
        control: the reply to the same call in a session that is there.
    """
    evidence = counted(answers, show)
    posts = answers["POST"]
    kinds = {refusal_kind(reply) for reply in posts}
    if RefusalKind.THROTTLED in kinds:
        return throttled(check, evidence)
    if kinds == {RefusalKind.GONE}:
        return _others(check, what, answers, evidence)
    if control.outcome not in (Outcome.REACHED, Outcome.LOST):
        says = f"calls fail in a session that is there, too: {show(control.label)}"
        return Finding(check, Verdict.UNKNOWN, says, evidence=evidence)
    by_status = Counter(reply.status_key for reply in posts).most_common()
    if len(kinds) > 1:
        shares = ", ".join(f"{status} ({count})" for status, count in by_status)
        says = f"{what} is answered in different ways: {shares}"
    else:
        says = f"{what} is answered with {posts[0].status_in_words}; 404 is due"
    why = " ".join(_EFFECTS[kind] for kind in RefusalKind if kind in kinds and kind in _EFFECTS)
    pages = [reply for reply in posts if refusal_kind(reply) is not RefusalKind.GONE and reply.is_page]
    if pages:
        why += (
            f" The body is a page ({show(pages[0].media_type) or 'without a type'}) and not a server's JSON: something "
            "on the way has put it in the place of the server's answer."
        )
        return Finding(check, Verdict.BROKEN, says, why, evidence, (advice(Topic.ERROR_PAGES, proxy), _LOGS))
    if kinds == {RefusalKind.FAILED} and all(_is_of_a_proxy(reply) for reply in posts):
        why += (
            " A call in a session that is there is answered, and this answer is no JSON as a server's own would be: "
            "most likely something on the way turns the server's 404 into it."
        )
        return Finding(check, Verdict.BROKEN, says, why, evidence, (advice(Topic.ERROR_PAGES, proxy), _LOGS))
    only_log = kinds <= {RefusalKind.GONE, RefusalKind.FAILED, RefusalKind.HANG, RefusalKind.CUT}
    return Finding(
        check, Verdict.BROKEN, says, why, evidence, (_LOGS,) if only_log else (advice(Topic.MISSING_SESSION, None),)
    )


def _is_of_a_proxy(reply: Reply) -> bool:
    """502 to 504 are what a proxy says; a server that fails says 500."""
    return reply.status in (502, 503, 504) and reply.message is None and not reply.media_type.endswith("json")


def _others(check: str, what: str, answers: Answers, evidence: dict[str, Any]) -> Finding:
    """Every POST got its 404: there are still the streams. A DELETE ends what is not there, and any answer will do."""
    streams = answers.get("GET", ())
    right = (RefusalKind.GONE, RefusalKind.THROTTLED)
    wrong = Counter(
        reply.status_key for reply in streams if refusal_kind(reply, "GET") not in right and reply.status != 405
    )
    if not wrong:
        count = len(answers["POST"])
        return Finding(check, Verdict.OK, f"{what} is answered with 404, {count} of {count} times", evidence=evidence)
    return Finding(
        check,
        Verdict.WARNING,
        f"a GET in {what} is answered with {wrong.most_common(1)[0][0]}; 404 is due",
        "A client that resumes a stream does not learn from it that its session is gone; the next POST gets its 404.",
        evidence,
        (advice(Topic.MISSING_SESSION, None),),
    )
