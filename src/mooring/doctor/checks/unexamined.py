"""What a finding is made of where nothing can be examined."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from mooring.doctor.client.reply import Reply
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict

ENDPOINT: Final = "endpoint"
"""The finding's name, in no list of checks: it is given before any of them runs, so there is nothing to choose."""


def unexamined(exam: Examination, reply: Reply, says: str, why: str, *changes: str, **evidence: Any) -> Finding:
    """The finding on what was answered to `initialize`."""
    tried = len(exam.sessions.attempts)
    measured = {
        "status": reply.status,
        "seconds": round(reply.seconds, 3),
        "detail": exam.show(reply.detail),
        "tried": tried,
        "answers": dict(Counter(exam.show(one.reply.label) for one in exam.sessions.attempts)),
    }
    return Finding(ENDPOINT, Verdict.BROKEN, says, why, {**measured, **evidence}, tuple(Change(one) for one in changes))
