"""What a check is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, NotRun

Run = Callable[[Examination], Awaitable[Finding | NotRun]]


@dataclass(frozen=True, slots=True)
class Check:
    """
    Attributes:
        name: what `--only` and `--skip` call it.
        asks: the question that it answers, for the list of checks.
        needs_sessions: it looks at sessions, so that a server without them has nothing to look at.
        is_reading: it sends nothing but what opens and closes sessions, lists and pings, so that `--read-only` allows
            it.
    """

    name: str
    asks: str
    run: Run
    needs_sessions: bool = False
    is_reading: bool = False
