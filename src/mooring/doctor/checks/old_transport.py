"""Whether the older HTTP+SSE transport (2024-11-05) is served beside this endpoint, and reaches its sessions.

beside the endpoint                                verdict
nothing of it                                      not run
it is there, and each POST reaches its stream      ok, with the remark that clients are dropping it
some POSTs reach a node without the stream         broken
no stream is ever answered                         warning
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from mooring.doctor.check import Check
from mooring.doctor.checks.cannot_tell import not_asked
from mooring.doctor.evidence.old_sessions import OldSession, try_old_sessions
from mooring.doctor.evidence.old_transport import is_old_transport, paths_beside
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.showing import Show

NAME: Final = "old-transport"
_CHANGE: Final = Change(
    "Serve Streamable HTTP alone, and take this path away; or keep the stream and its POSTs on one node. They "
    "carry the session in the query: Mooring behind any load balancer routes by it.",
    "mooring serve server.py:server --redis-url redis://...",
)


async def run(exam: Examination) -> Finding | NotRun:
    if exam.hangs:
        return not_asked(NAME, exam)
    for path in paths_beside(exam.wire.url):
        url = exam.wire.url.with_path(path)
        if await is_old_transport(exam, url):
            return judge(exam.show(path), await try_old_sessions(exam, url), exam.show)
    return NotRun("no HTTP+SSE server is found beside this endpoint")


def judge(path: str, sessions: Sequence[OldSession], show: Show) -> Finding:
    answered = sum(session.is_answered for session in sessions)
    labels = Counter(show(one.posted.label) for one in sessions if not one.is_answered)
    evidence = {"path": path, "streams": len(sessions), "answered": answered, "posts": dict(labels)}
    if not sessions:
        return Finding(
            NAME, Verdict.UNKNOWN, f"HTTP+SSE is served at {path}, and no stream could be used", "", evidence
        )
    if answered == len(sessions):
        why = "It needs each POST on the node of its stream, which is so here, and clients are dropping it."
        return Finding(NAME, Verdict.OK, f"HTTP+SSE is served at {path}, and works", why, evidence)
    label = labels.most_common(1)[0][0]
    if not answered:
        says = f"HTTP+SSE is served at {path}, and no POST is answered on its stream: {label}"
        why = "Its messages reach no node that has the stream, or the stream is held back on its way."
        return Finding(NAME, Verdict.BROKEN, says, why, evidence, (_CHANGE,))
    return Finding(
        NAME,
        Verdict.BROKEN,
        f"HTTP+SSE at {path}: {len(sessions) - answered} of {len(sessions)} POSTs miss their stream: {label}",
        "A session of that transport is one stream on one node, and every POST for it has to get there.",
        evidence,
        (_CHANGE,),
    )


CHECK: Final = Check(NAME, "is the older HTTP+SSE transport served beside it, and does it work?", run)
