"""How large a request may be, and whether one that is too large is told so.

The servers of the SDKs take 4 MiB and answer 413 above it; a proxy in front often takes less, and says less.

    refused with     up to 1.5 MiB    5 MiB
    413              warning          ok
    another 4xx      warning          warning
    5xx, cut, hang   broken           warning
    nothing is refused: ok
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled, where_to_look
from mooring.doctor.client.reply import FAILURES, Outcome, Reply
from mooring.doctor.evidence.failing_calls import telling_replies
from mooring.doctor.evidence.question import ask, can_ask
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.hiding import Show
from mooring.doctor.proxies import Proxy

NAME: Final = "body-limit"
SMALL: Final = 1024
SIZES: Final = (256 * 1024, 3 * 512 * 1024, 5 * 1024 * 1024)
LARGE: Final = 4 * 1024 * 1024
"""What the SDKs take: who refuses less takes something away from them."""
_MOST_TRIES: Final = 12
"""Of a large request, on the way to its session's node."""
_PAUSE_SECONDS: Final = 1.0
_SAME: Final = 4
"""So many 413 in a row. Who answers and closes while the request is still on its way has the proxy miss the answer now
and then; nginx that speaks HTTP/1.0 with the server gives a 502 in its place, three times of four."""
_QUICK_SECONDS: Final = 1.0
_PATIENCE: Final = 3.0
_MOST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """Requests of one size.

    Attributes:
        reply: what came back; a 413 above the SDKs' limit only where it came several times in a row.
        paused: the reply when it was sent with a pause behind its beginning, since the connection had broken: so an
            answer shows that was lost with it.
        statuses: how often each status came.
    """

    body_bytes: int
    reply: Reply
    paused: Reply | None = None
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def answer(self) -> Reply:
        """What the server, or whoever refused it, has answered."""
        if self.paused is not None and self.paused.trouble is None and self.paused.status >= 400:
            return self.paused
        return self.reply

    @property
    def is_lost(self) -> bool:
        """An answer was there, and did not come through while the request was still on its way."""
        return self.answer is not self.reply


async def run(exam: Examination) -> Finding | NotRun:
    if not can_ask(exam):
        return NotRun("no session is open")
    if exam.hangs:
        return not_asked(NAME)
    attempts = await _measure(exam)
    if not telling_replies(exam, [attempts[-1].answer]):
        return failing_anyway(NAME, exam)
    return judge(attempts, exam.proxy, exam.show)


async def _measure(exam: Examination) -> list[Attempt]:
    """Ever larger requests, until one is not served or would take too long on this line."""
    attempts = [Attempt(SMALL, await ask(exam, body_bytes=SMALL))]
    for size in SIZES:
        last = attempts[-1]
        if last.reply.outcome is not Outcome.REACHED:
            break
        # A slow line is no fault of the deployment: what a size has taken tells what the next one needs.
        likely_seconds = last.reply.seconds * size / last.body_bytes if last.body_bytes > SMALL else 0.0
        if likely_seconds > _MOST_SECONDS:
            break
        attempts.append(await _attempt(exam, size, max(exam.plan.timeout_seconds, _PATIENCE * likely_seconds)))
    return attempts


async def _attempt(exam: Examination, size: int, seconds: float) -> Attempt:
    replies = [await _send(exam, size, seconds)]
    if replies[0].outcome in FAILURES:
        replies.append(await _send(exam, size, seconds))  # any request may fail once
    while _is_quick_413(replies[-1], size) and len(replies) < _SAME:
        replies.append(await _send(exam, size, seconds))
    paused = None
    if replies[-1].outcome is Outcome.CUT:
        paused = await _send(exam, size, seconds + _PAUSE_SECONDS, _PAUSE_SECONDS)
    return Attempt(size, replies[-1], paused, Counter(reply.status_key for reply in replies))


async def _send(exam: Examination, size: int, seconds: float, pause_seconds: float = 0.0) -> Reply:
    return await ask(
        exam, body_bytes=size, most_tries=_MOST_TRIES, timeout_seconds=seconds, pause_seconds=pause_seconds
    )


def _is_quick_413(reply: Reply, size: int) -> bool:
    return size > LARGE and reply.trouble is None and reply.status == 413 and reply.seconds < _QUICK_SECONDS


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
        "The answer is there, but the connection is closed while the request is still on its way: many a client sees "
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


CHECK: Final = Check(NAME, "how large may a request be, and is too large a one told so?", run)
