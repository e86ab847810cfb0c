"""How long a call takes where nothing else is asked meanwhile, and how long the opening of a session."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Final

from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.ways import Way
from mooring.doctor.evidence.question import ask
from mooring.doctor.examination import Examination

_CALLS: Final = 5
_TRIES: Final = 20
"""Some miss the node of their session."""
_MOST_SECONDS: Final = 12.0


@dataclass(frozen=True, slots=True)
class Speed:
    """
    Attributes:
        calls: how long calls took that were answered, one after the other, in seconds.
        openings: the same of `initialize`, of which several may have been under way at once.
        tool_seconds: how long the operator's tool took; None where none is named.
    """

    calls: tuple[float, ...]
    openings: tuple[float, ...] = ()
    tool_seconds: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.calls) if self.calls else 0.0

    @property
    def first_opening(self) -> float:
        """It had the deployment for itself."""
        return self.openings[0] if self.openings else 0.0


async def measure_speed(exam: Examination) -> Speed:
    """Some calls over new connections, one after the other."""
    took, spent = list[float](), 0.0
    for _ in range(_TRIES):
        reply = await _ask(exam)
        spent += reply.seconds
        if reply.outcome is Outcome.REACHED:
            took.append(reply.seconds)
        if spent > _MOST_SECONDS or len(took) == _CALLS:
            break
    openings = tuple(attempt.reply.seconds for attempt in exam.sessions.attempts if not attempt.is_refused)
    tools = [call.reply.seconds for call in exam.calls if call.reply.outcome is Outcome.REACHED]
    of_tool = statistics.median(tools) if exam.plan.tool is not None and tools else None
    return Speed(tuple(took), openings, of_tool)


async def _ask(exam: Examination) -> Reply:
    session = exam.first
    if session is None:
        return await ask(exam, most_tries=1)  # not the operator's tool, which may take its time
    return await exam.sessions.ping(session, Way(cookies=True, one_connection=False))
