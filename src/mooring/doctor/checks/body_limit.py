"""How large a request may be, and whether one that is too large is refused with 413.

The servers of the SDKs take 4 MiB and answer 413 above it; a proxy in front often takes less, and says less.

    refused with     up to 1.5 MiB    5 MiB
    413              warning          ok
    another 4xx      warning          warning
    5xx, cut, hang   broken           warning
    nothing is refused: ok
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled, where_to_look
from mooring.doctor.client.reply import FAILURES, Outcome, Reply
from mooring.doctor.evidence.body_sizes import LARGE, SIZES, SMALL, Attempt, try_sizes
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.question import ask, can_ask
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import Show

NAME: Final = "body-limit"


async def run(exam: Examination) -> Finding | NotRun:
    if not can_ask(exam):
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME, exam)
    attempts = await try_sizes(exam)
    if not telling_replies(exam, [attempts[-1].answer], but_logins=True):
        return failing_anyway(NAME, exam)
    found = judge(attempts, exam.proxy, exam.show)
    if len(attempts) > 1 and attempts[-1].answer.outcome in FAILURES:
        small = await ask(exam, body_bytes=SMALL)
        if small.outcome in FAILURES:
            says = f"cannot tell: small calls fail at the same time, too: {exam.show(small.label)}"
            return Finding(NAME, Verdict.UNKNOWN, says, evidence=found.evidence)
    return found


def written(body_bytes: int) -> str:
    """`256 KiB`, `1.5 MiB`."""
    kib = body_bytes / 1024
    return f"{kib:g} KiB" if kib < 1024 else f"{kib / 1024:g} MiB"


def judge(attempts: Sequence[Attempt], proxy: Proxy | None, show: Show) -> Finding:
    """The verdict.

    Args:
        attempts: by size; the first is small enough for everybody, only the last may have failed.
    """
    taken = [attempt for attempt in attempts if attempt.reply.outcome is Outcome.REACHED]
    last = attempts[-1]
    evidence: dict[str, Any] = {
        "largest_accepted_bytes": taken[-1].body_bytes if taken else None,
        "smallest_refused_bytes": None,
        "seconds": {str(attempt.body_bytes): round(attempt.reply.seconds, 3) for attempt in attempts},
    }
    if not taken:
        says = f"even a small call fails: {show(last.reply.label)}"
        return Finding(NAME, Verdict.UNKNOWN, says, where_to_look(last.reply), evidence)
    if len(taken) == len(attempts):
        return _all_taken(taken[-1], evidence)
    evidence |= {
        "smallest_refused_bytes": last.body_bytes,
        "refused_with": last.answer.status_key,
        "answers_to_refused": dict(last.statuses),
        "answer_lost_while_sending": last.is_lost,
    }
    return _refused(taken[-1], last, proxy, evidence, show)


def _all_taken(largest: Attempt, evidence: dict[str, Any]) -> Finding:
    if largest.body_bytes == SIZES[-1]:
        return Finding(NAME, Verdict.OK, f"requests of {written(largest.body_bytes)} are taken", evidence=evidence)
    says = f"requests of {written(largest.body_bytes)} are taken; larger ones take too long from here to try"
    verdict = Verdict.OK if largest.body_bytes >= SIZES[-2] else Verdict.UNKNOWN
    return Finding(NAME, verdict, says, evidence=evidence)


def _refused(largest: Attempt, refused: Attempt, proxy: Proxy | None, evidence: dict[str, Any], show: Show) -> Finding:
    answer, size = refused.answer, written(refused.body_bytes)
    is_small = refused.body_bytes <= LARGE
    label = show(answer.label)
    taken = f"{written(largest.body_bytes)} is taken, " if largest.body_bytes > SMALL else ""
    says = f"{taken}{size} is refused: {label}"
    if answer.outcome is Outcome.THROTTLED:
        return throttled(NAME, evidence)
    if answer.outcome is Outcome.LOST:
        says = f"no node that was asked with {size} knew the session: {label}"
        return Finding(NAME, Verdict.UNKNOWN, says, where_to_look(answer), evidence)
    if answer.status == 413 and not is_small:
        return Finding(NAME, Verdict.OK, says, _on_lost(refused), evidence)
    if answer.status == 413:
        why = "The SDKs take 4 MiB: a call with a picture or a document in it fails here."
        why = f"{why} {_on_lost(refused)}".strip()
        return Finding(NAME, Verdict.WARNING, says, why, evidence, _changes(answer, proxy))
    if answer.outcome in FAILURES:
        verdict = Verdict.BROKEN if is_small else Verdict.WARNING
        why = (
            "A request that is too large is answered with 413, so that a client can say why. A 502, a 503 or a cut "
            "connection kills the client of Python's SDK 1.x, and its session with it."
        )
        changes = _changes(answer, proxy) if is_small else (advice(Topic.OVERSIZED_BODY, proxy),)
        return Finding(NAME, verdict, says, why, evidence, changes)
    why = "A request that is too large is answered with 413: this one does not tell the client what is wrong."
    return Finding(NAME, Verdict.WARNING, says, why, evidence, _changes(answer, proxy))


def _on_lost(refused: Attempt) -> str:
    if not refused.is_lost:
        return ""
    return (
        "The answer is there, but the connection is closed while the request is still on its way: many clients see "
        "a broken connection in its place."
    )


def _changes(answer: Reply, proxy: Proxy | None) -> tuple[Change, ...]:
    """The proxy's limit first, where it is the proxy that answered."""
    own = advice(Topic.BODY_LIMIT, None)
    if proxy is None:
        return (own,)
    is_proxys = proxy.key in answer.body[:4096].decode("utf-8", errors="replace").lower()
    changes = (advice(Topic.BODY_LIMIT, proxy), own) if is_proxys else (own, advice(Topic.BODY_LIMIT, proxy))
    return tuple(dict.fromkeys(changes))


CHECK: Final = Check(NAME, "how large may a request be, and is one that is too large refused with 413?", run)
