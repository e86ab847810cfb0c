"""Ever larger requests, and what each of them is answered with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from mooring.doctor.client.reply import FAILURES, Outcome, Reply
from mooring.doctor.evidence.question import ask
from mooring.doctor.examination import Examination

SMALL: Final = 1024
SIZES: Final = (256 * 1024, 3 * 512 * 1024, 5 * 1024 * 1024)
LARGE: Final = 4 * 1024 * 1024
"""What the SDKs take: to refuse less takes something away from them."""
_MOST_TRIES: Final = 12
"""Of a large request, on the way to its session's node."""
_PAUSE_SECONDS: Final = 1.0
_SAME: Final = 10
"""How many 413 in a row. Where a server answers and closes while the request is still on its way, the proxy misses the
answer now and then; nginx that speaks HTTP/1.0 with the server gives a 502 in its place, every second time or so: four
in a row came by chance with one examination of 25."""
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


async def try_sizes(exam: Examination) -> list[Attempt]:
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
