"""A path beside MCP on the same host, with the cookies of an MCP session and without: are they for it, too?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from yarl import URL

from mooring.doctor.client.reply import Reply
from mooring.doctor.examination import Examination

ASKS: Final = 12
"""In each of the two ways. Of three nodes at random, all but one are missed so many times once in 180,000."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
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


async def elsewhere(exam: Examination) -> Elsewhere | None:
    """What is at the path that the operator named; asked once in a run. None where none was named."""
    if exam.plan.other_path is None:
        return None
    async with exam.elsewhere_lock:
        if exam.elsewhere is None:
            exam.elsewhere = await _ask(exam, exam.plan.other_path)
        return exam.elsewhere


async def _ask(exam: Examination, path: str) -> Elsewhere:
    exam.listener.step(f"requests to {exam.show(path, 60)}")
    url = exam.wire.url.join(URL(f"/{path.lstrip('/')}"))
    session = exam.first
    sent = frozenset(session.jar.filter_cookies(url)) if session is not None else frozenset[str]()
    plain = await _get(exam, url, {})
    answers = any(reply.trouble is None for reply in plain)
    carried = await _get(exam, url, session.cookies(url)) if session is not None and sent and answers else ()
    return Elsewhere(url.path, sent, plain, carried)


async def _get(exam: Examination, url: URL, headers: dict[str, str]) -> tuple[Reply, ...]:
    return tuple(
        await asyncio.gather(
            *(exam.wire.send("GET", url=url, headers={"Accept": "*/*", **headers}, token=None) for _ in range(ASKS))
        )
    )
