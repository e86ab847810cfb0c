"""What several checks say where they cannot tell: calls hang, or fail anyway, or are limited in their rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.failing_calls import failing_reply
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, Verdict

RATE_IS_LIMITED: Final = "The server limits the rate of requests."
ASK_FOR_LESS: Final = Change("Ask for less: --sessions 5 --calls 2.")


def not_asked(check: str, exam: Examination) -> Finding:
    """For a deployment where calls go unanswered, or do harm: no further one is sent."""
    return Finding(check, Verdict.UNKNOWN, f"not asked: {exam.no_calls}")


def throttled(check: str, evidence: Mapping[str, object]) -> Finding:
    """For what a limit on the rate of requests has answered."""
    return Finding(check, Verdict.UNKNOWN, "the server limits the rate of requests (429)", evidence=evidence)


def where_to_look(control: Reply) -> str:
    """Where to look when a call fails that nothing is odd about."""
    return "See the check `affinity`." if control.outcome is Outcome.LOST else ""


def failing_anyway(check: str, exam: Examination, evidence: Mapping[str, object] | None = None) -> Finding:
    """For a check of which only failures are left, where others fail as well."""
    reply = failing_reply(exam, but_logins=True)
    label = exam.show(reply.label) if reply is not None else ""
    says = f"cannot tell: calls that nothing is odd about fail, too: {label}"
    return Finding(check, Verdict.UNKNOWN, says, evidence=evidence or {})
