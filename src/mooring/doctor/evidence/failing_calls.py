"""Whether calls fail that nothing is odd about, so that the failing of an odd one says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mooring.doctor.client.reply import FAILURES, Reply
from mooring.doctor.examination import Examination

FEW: Final = 0.02
"""The share of calls that may fail with a 5xx or a broken connection before it means something."""


def failing_reply(exam: Examination) -> Reply | None:
    """One of the calls and openings that nothing was odd about and that failed; None where at most a few did.

    With a node that is down, and still in use, a share of all requests fails. It says nothing of what was odd about
    those of a check.
    """
    calls = [call.reply for call in exam.calls if call.reply.outcome in FAILURES]
    openings = [reply for reply in exam.sessions.refused if reply.outcome in FAILURES]
    if len(calls) <= FEW * len(exam.calls) and len(openings) < 2:
        return None
    return next(iter((*calls, *openings)), None)


def telling_replies(exam: Examination, replies: Sequence[Reply]) -> list[Reply]:
    """Those that say something of what was asked: where others fail as well, only those that did not."""
    if failing_reply(exam) is None:
        return list(replies)
    return [reply for reply in replies if reply.outcome not in FAILURES]
