"""Whether calls fail that nothing is odd about, so that the failing of an odd one says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mooring.doctor.client.reply import FAILURES, Outcome, Reply
from mooring.doctor.examination import Examination

FEW: Final = 0.02
"""The share of calls that may fail with a 5xx or a broken connection before it means something."""


def failing_reply(exam: Examination, *, but_logins: bool = False) -> Reply | None:
    """One of the calls and openings that nothing was odd about and that failed; None where at most a few did.

    With a node that is down, and still in use, a share of all requests fails. It says nothing of what was odd about
    those of a check.

    Args:
        but_logins: a token that some nodes refuse is such a failure, too.
    """
    kinds = FAILURES | ({Outcome.LOGIN} if but_logins and exam.sessions.opened else frozenset())
    calls = [call.reply for call in exam.calls if call.reply.outcome in kinds]
    pace = exam.wire.pace
    again = [] if pace.is_limit else [refusal.reply for refusal in pace.refusals if refusal.is_opening]
    openings = [reply for reply in (*exam.sessions.refused, *again) if reply.outcome in kinds]
    if len(calls) <= FEW * len(exam.calls) and len(openings) < 2:
        return None
    return next(iter((*calls, *openings)), None)


def telling_replies(exam: Examination, replies: Sequence[Reply], *, but_logins: bool = False) -> list[Reply]:
    """Those that say something of what was asked: where others fail as well, only those that did not."""
    failing = failing_reply(exam, but_logins=but_logins)
    if failing is None:
        return list(replies)
    kinds = FAILURES | {failing.outcome}
    return [reply for reply in replies if reply.outcome not in kinds]
