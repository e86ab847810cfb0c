"""A path beside MCP on the same host, with the cookies of an MCP session and without: are they for it, too?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from yarl import URL

from mooring.doctor.client.reply import Reply
from mooring.doctor.examination import Examination, Shared

ASKS: Final = 12
"""In each of the two ways. Of three nodes at random, all but one are missed so many times once in 180,000."""


@dataclass(frozen=True, slots=True)
class OtherPathReplies:
    """
    Attributes:
        sent: the names of the cookies that a client sends there.
        plain: the answers without cookies.
        carried: those with them; none where no cookie is sent there, or nothing answers.
    """

    path: str
    sent: frozenset[str]
    plain: tuple[Reply, ...]
    carried: tuple[Reply, ...]


class OtherPath(Shared):
    """What is at the path that the operator named, asked once in a run."""

    def __init__(self, exam: Examination) -> None:
        super().__init__(exam)
        self._lock = asyncio.Lock()  # held by whoever asks first, while others wait for what comes
        self._replies: OtherPathReplies | None = None

    async def replies(self) -> OtherPathReplies | None:
        """What was answered; None where no path was named."""
        path = self._exam.plan.other_path
        if path is None:
            return None
        async with self._lock:
            if self._replies is None:
                self._replies = await _ask(self._exam, path)
            return self._replies


async def _ask(exam: Examination, path: str) -> OtherPathReplies:
    exam.listener.step(f"requests to {exam.show(path, 60)}")
    url = exam.wire.url.join(URL(f"/{path.lstrip('/')}"))
    session = exam.first
    sent = frozenset(session.jar.filter_cookies(url)) if session is not None else frozenset[str]()
    plain = await _get(exam, url, {})
    answers = any(reply.trouble is None for reply in plain)
    carried = await _get(exam, url, session.cookies(url)) if session is not None and sent and answers else ()
    return OtherPathReplies(url.path, sent, plain, carried)


async def _get(exam: Examination, url: URL, headers: dict[str, str]) -> tuple[Reply, ...]:
    return tuple(
        await asyncio.gather(
            *(exam.wire.send("GET", url=url, headers={"Accept": "*/*", **headers}, token=None) for _ in range(ASKS))
        )
    )
