"""What the doctor says: a verdict on each check, the numbers behind it, and the change to make."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class Verdict(enum.StrEnum):
    """
    OK       it is as it should be
    WARNING  it works, and will hurt some clients, or later
    BROKEN   some clients lose their sessions, their streams or their calls
    UNKNOWN  it could not be found out; the finding says why
    """

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    UNKNOWN = "unknown"


OUT_OF_TIME = "out of time: the deployment answers too slowly"
"""What is said of a check that was not over in time; a deployment of which that is said is not known to be healthy."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to change.

    Attributes:
        what: one or two sentences, in the imperative.
        config: lines for the configuration of the recognised proxy or server, as they are written there.
    """

    what: str
    config: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: the name of the check.
        says: the finding in one line, without an end stop; about 90 characters at most.
        why: what it means for whom, in whole sentences; empty where there is no more to say.
        evidence: what was measured, ready for JSON; names in snake_case, units in the names.
        changes: what to change, the best first; none where the verdict is OK.
        lines: what happened, in the order of time, where that is to be shown line by line.
    """

    check: str
    verdict: Verdict
    says: str
    why: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotRun:
    """A check that has nothing to look at here. `why` ends a sentence that begins with "not run:"."""

    why: str
