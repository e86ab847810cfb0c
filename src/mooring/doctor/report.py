"""What one run found, as a whole: for people by way of the command line, for programs as JSON, for tickets."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from mooring.doctor.findings import Finding, Verdict

_ESSENTIAL = frozenset({"affinity", "eras"})
"""Where these could not be found out, nobody may take the deployment for healthy."""


class Outlook(enum.IntEnum):
    """The whole in one word; the value is the exit code."""

    HEALTHY = 0
    WARNINGS = 1
    BROKEN = 2
    UNREACHABLE = 3


@dataclass(frozen=True, slots=True)
class Report:
    """
    Attributes:
        url: the MCP endpoint, as it may be shown.
        proxy: the load balancer that was recognised.
        reached: there is an MCP endpoint that could be examined.
        findings: in the order of the checks.
        not_run: check -> why there was nothing to look at.
        left: how many sessions could not be closed.
    """

    url: str
    proxy: str | None
    reached: bool
    findings: tuple[Finding, ...]
    not_run: dict[str, str] = field(default_factory=dict)
    sessions: int = 0
    closed: int = 0
    left: int = 0
    requests: int = 0
    seconds: float = 0.0

    @property
    def outlook(self) -> Outlook:
        if not self.reached:
            return Outlook.UNREACHABLE
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.BROKEN in verdicts:
            return Outlook.BROKEN
        unknown = {finding.check for finding in self.findings if finding.verdict is Verdict.UNKNOWN}
        if Verdict.WARNING in verdicts or unknown & _ESSENTIAL:
            return Outlook.WARNINGS
        return Outlook.HEALTHY

    def as_json(self) -> dict[str, Any]:
        """For programs; the names are kept from version to version."""
        return {
            "url": self.url,
            "outlook": self.outlook.name.lower(),
            "exit_code": int(self.outlook),
            "proxy": self.proxy,
            "findings": [
                {
                    "check": finding.check,
                    "verdict": str(finding.verdict),
                    "says": finding.says,
                    "why": finding.why,
                    "evidence": dict(finding.evidence),
                    "changes": [{"what": change.what, "config": change.config} for change in finding.changes],
                }
                for finding in self.findings
            ],
            "not_run": self.not_run,
            "sessions": {"opened": self.sessions, "closed": self.closed, "left": self.left},
            "requests": self.requests,
            "seconds": round(self.seconds, 1),
        }
