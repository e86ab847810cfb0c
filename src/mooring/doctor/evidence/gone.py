"""How a session that is not there is refused, and what each way of doing so does to clients.

404 alone tells a client that its session is gone (2025-11-25, Transports: Session Management).

    manner     answer                           verdict on the whole
    GONE       404                              right
    SERVED     as if the session were there     the check's own
    BAD        400                              broken
    LOGIN      401, 403                         broken
    FAILED     5xx                              broken
    HANG, CUT  none                             broken
    THROTTLED  429                              not to be told
    OTHER      anything else                    broken
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.client.protocol import reason
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.inquiry import throttled
from mooring.doctor.findings import Change, Finding, Verdict

Answers = Mapping[str, Sequence[Reply]]
"""HTTP method -> what came back."""
Show = Callable[[object], str]


class Manner(enum.Enum):
    """How it was refused, if it was."""

    GONE = enum.auto()
    SERVED = enum.auto()
    BAD = enum.auto()
    LOGIN = enum.auto()
    FAILED = enum.auto()
    HANG = enum.auto()
    CUT = enum.auto()
    THROTTLED = enum.auto()
    OTHER = enum.auto()


_LOGS: Final = Change("Look at the server's and the proxy's log at the time of this run.")
_EFFECTS: Final[dict[Manner, str]] = {
    Manner.SERVED: "Where it is served, its client does not learn that its session is gone.",
    Manner.BAD: "On a 404 clients open a new session: VS Code does so on a 400 as well, others, such as mcp-remote, on "
    "a 404 only, and are stuck.",
    Manner.LOGIN: "A 401 sends clients into a login loop though their token is good, and a 403 leaves them stuck.",
    Manner.FAILED: "A 502 or 503 kills the client of Python's SDK 1.x; none takes a 5xx for the end of its session, so "
    "none opens a new one.",
    Manner.HANG: "The client waits until its own time limit, and does not learn that its session is gone.",
    Manner.CUT: "A cut connection kills the client of Python's SDK 1.x, and tells none that its session is gone.",
    Manner.OTHER: "Clients take a 404 for the end of their session, and nothing else.",
}
"""What each wrong manner does to clients."""


def manner_of(reply: Reply, method: str = "POST") -> Manner:
    """How that reply refuses a session."""
    by_outcome = {
        Outcome.REACHED: Manner.SERVED,
        Outcome.LOGIN: Manner.LOGIN,
        Outcome.THROTTLED: Manner.THROTTLED,
        Outcome.UNAVAILABLE: Manner.FAILED,
        Outcome.HANG: Manner.HANG,
        Outcome.CUT: Manner.CUT,
    }
    if reply.trouble is None and reply.status in (400, 404):
        return Manner.GONE if reply.status == 404 else Manner.BAD
    if method != "POST" and reply.is_ok:
        return Manner.SERVED
    return by_outcome.get(reply.outcome, Manner.OTHER)


def status_of(reply: Reply) -> str:
    """`404`, or what came in place of an answer."""
    return str(reply.status) if reply.trouble is None else reply.trouble.name.lower()


def in_words(reply: Reply) -> str:
    """The same for people; what the server said of it may be long."""
    return str(reply.status) if reply.trouble is None else str(reply.trouble)


def counted(answers: Answers, show: Show) -> dict[str, Any]:
    """The evidence: how often each status came for each method, what was said, and Mooring's reasons."""
    posts = answers.get("POST", ())
    return {
        "answers": {method: dict(Counter(map(status_of, replies))) for method, replies in answers.items()},
        "said": [show(label) for label, _ in Counter(reply.label for reply in posts).most_common(4)],
        "reasons": sorted({show(reason(reply.message)) for reply in posts if reason(reply.message)}),
    }


def judge_refusals(check: str, what: str, answers: Answers, control: Reply, show: Show) -> Finding:
    """The verdict where no POST was served.

    Args:
        what: `an unknown session`, or `a deleted session`.
        control: the reply to the same call in a session that is there.
    """
    evidence = counted(answers, show)
    posts = answers["POST"]
    manners = {manner_of(reply) for reply in posts}
    if Manner.THROTTLED in manners:
        return throttled(check, evidence)
    if manners == {Manner.GONE}:
        return _others(check, what, answers, evidence)
    if control.outcome not in (Outcome.REACHED, Outcome.LOST):
        says = f"calls fail in a session that is there, too: {show(control.label)}"
        return Finding(check, Verdict.UNKNOWN, says, evidence=evidence)
    by_status = Counter(map(status_of, posts)).most_common()
    if len(manners) > 1:
        shares = ", ".join(f"{status} ({count})" for status, count in by_status)
        says = f"{what} is answered in different ways: {shares}"
    else:
        says = f"{what} is answered with {in_words(posts[0])}; 404 is due"
    why = " ".join(_EFFECTS[manner] for manner in Manner if manner in manners and manner in _EFFECTS)
    only_log = manners <= {Manner.GONE, Manner.FAILED, Manner.HANG, Manner.CUT}
    return Finding(check, Verdict.BROKEN, says, why, evidence, (_LOGS,) if only_log else (advice(Topic.GONE, None),))


def _others(check: str, what: str, answers: Answers, evidence: dict[str, Any]) -> Finding:
    """Every POST got its 404: there are still the streams. A DELETE ends what is not there, and any answer will do."""
    streams = answers.get("GET", ())
    right = (Manner.GONE, Manner.THROTTLED)
    wrong = Counter(
        status_of(reply) for reply in streams if manner_of(reply, "GET") not in right and reply.status != 405
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
        (advice(Topic.GONE, None),),
    )
