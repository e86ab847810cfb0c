"""What a check is, and what it declares of itself, so that nobody else has to know it by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding, NotRun

Run = Callable[[Examination], Awaitable[Finding | NotRun]]


@dataclass(frozen=True, slots=True)
class Check:
    """
    Attributes:
        name: what `--only` and `--skip` call it.
        asks: the question that it answers, for the list of checks.
        run: answers it; what it raises is shown as an error of the doctor's own.
        needs_sessions: it looks at sessions, so that a server without them has nothing to look at.
        is_reading: it sends nothing but what opens and closes sessions, lists and pings, so that `--read-only` allows
            it.
        makes_calls: it looks at calls of its own, so where calls hang it sends none and says so. The others make do
            with the answers that came until then.
        is_essential: where it cannot tell, nobody may take the deployment for healthy.
        goes_first: it runs before all others and alone. They would disturb its numbers, and need what it leaves in the
            examination.
        guards_watch: a watch begins with it, and ends there where it is broken: what a lost node does cannot be seen.
        is_of_rules: what it warns of is there whether requests fail or not, so it tells nothing of those that do.
        silent_streams: the streams that are held in silence for it from the start, by the encoding that they accept:
            `PLAIN`, `COMPRESSED`.
        sessions_to_open: how many sessions it wants, of so many that may be opened; None for all of them. Only a check
            that runs in place of all others is asked.
        speaks: reads in its evidence what the server speaks, for the head of a report.
    """

    name: str
    asks: str
    run: Run
    needs_sessions: bool = False
    is_reading: bool = False
    makes_calls: bool = True
    is_essential: bool = False
    goes_first: bool = False
    guards_watch: bool = False
    is_of_rules: bool = False
    silent_streams: frozenset[str] = frozenset()
    sessions_to_open: Callable[[int], int] | None = None
    speaks: Callable[[Mapping[str, Any]], str] | None = None
