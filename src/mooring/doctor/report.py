"""What one run found, as a whole: for people by way of the command line, for programs as JSON, for tickets."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.doctor.catalogue import CHECKS
from mooring.doctor.findings import OUT_OF_TIME, Finding, Verdict

_ESSENTIAL: Final = frozenset(check.name for check in CHECKS if check.is_essential)
_SPEAKS: Final = {check.name: check.speaks for check in CHECKS if check.speaks is not None}
_WORST_FIRST: Final = (Verdict.BROKEN, Verdict.WARNING, Verdict.UNKNOWN)


class Outlook(enum.IntEnum):
    """The whole in one word; the value is the exit code."""

    HEALTHY = 0
    WARNINGS = 1
    BROKEN = 2
    UNREACHABLE = 3


def is_missed(finding: Finding) -> bool:
    """It could not be found out, and without it nobody may take the deployment for healthy."""
    is_essential = finding.check in _ESSENTIAL or finding.says == OUT_OF_TIME
    return finding.verdict is Verdict.UNKNOWN and is_essential


@dataclass(frozen=True, slots=True)
class Report:
    """
    Attributes:
        url: the MCP endpoint, as it may be shown.
        proxy: the load balancer that was recognised.
        reached: there is an MCP endpoint that could be examined.
        findings: in the order of the checks.
        not_run: check -> why there was nothing to look at.
        left: how many sessions could not be closed, and `why_left`, where that is known.
        behind: other proxies that have left a sign, and do not meet clients.
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
    why_left: str = ""
    behind: tuple[str, ...] = ()

    @property
    def outlook(self) -> Outlook:
        if not self.reached:
            return Outlook.UNREACHABLE
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.BROKEN in verdicts:
            return Outlook.BROKEN
        if Verdict.WARNING in verdicts or any(map(is_missed, self.findings)):
            return Outlook.WARNINGS
        return Outlook.HEALTHY

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What is not as it should be and has more to be said of: the broken first, then the warnings."""
        found = [one for verdict in (Verdict.BROKEN, Verdict.WARNING) for one in self._with(verdict)]
        return tuple(one for one in found if one.changes or one.why)

    @property
    def hints(self) -> tuple[Finding, ...]:
        """What could not be found out, and what to ask for so that it can."""
        return tuple(one for one in self._with(Verdict.UNKNOWN) if one.changes)

    def _with(self, verdict: Verdict) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict is verdict]

    @property
    def sentence(self) -> str:
        """The whole in one sentence, without an end stop: the worst finding to its first colon, and how many more."""
        counts = Counter(finding.verdict for finding in self.findings)
        worst = next((verdict for verdict in _WORST_FIRST if counts[verdict]), Verdict.OK)
        says = next((finding.says for finding in self._with(worst)), "")
        if self.outlook is Outlook.UNREACHABLE:
            return f"cannot be examined: {says}"
        if self.outlook is Outlook.HEALTHY:
            return _healthy(counts)
        counts[worst] -= 1
        others = ", ".join(
            _counted(counts[verdict], f"more {verdict}" if verdict is worst else verdict)
            for verdict in _WORST_FIRST
            if counts[verdict]
        )
        return f"{worst}: {says.partition(': ')[0]}" + (f"; also {others}" if others else "")

    @property
    def speaks(self) -> str:
        """What the server speaks: `legacy to 2025-11-25, modern 2026-07-28`; empty where that was not asked."""
        said = (_SPEAKS[one.check](one.evidence) for one in self.findings if one.check in _SPEAKS)
        return ", ".join(filter(None, said))

    def as_json(self) -> dict[str, Any]:
        """For programs; the names are kept from version to version."""
        return {
            "url": self.url,
            "outlook": self.outlook.name.lower(),
            "exit_code": int(self.outlook),
            "proxy": self.proxy,
            "behind": list(self.behind),
            "findings": [
                {
                    "check": finding.check,
                    "verdict": str(finding.verdict),
                    "says": finding.says,
                    "why": finding.why,
                    "evidence": dict(finding.evidence),
                    **({"lines": list(finding.lines)} if finding.lines else {}),
                    "changes": [{"what": change.what, "config": change.config} for change in finding.changes],
                }
                for finding in self.findings
            ],
            "not_run": self.not_run,
            "sessions": {"opened": self.sessions, "closed": self.closed, "left": self.left, "why_left": self.why_left},
            "requests": self.requests,
            "seconds": round(self.seconds, 1),
        }


def _healthy(counts: Counter[Verdict]) -> str:
    """Never more than was seen."""
    ok, unknown = counts[Verdict.OK], counts[Verdict.UNKNOWN]
    if not ok:
        return "nothing was found out" if unknown else "nothing was there to look at"
    seen = f"{ok} {'checks are' if ok > 1 else 'check is'} ok"
    return f"healthy as far as can be seen: {seen}, {unknown} could not tell" if unknown else f"healthy: {seen}"


def _counted(count: int, words: str) -> str:
    """`2 more broken`, `1 warning`, `3 warnings`, `2 unknown`."""
    return f"{count} {words}{'s' if words.endswith('warning') and count > 1 else ''}"
