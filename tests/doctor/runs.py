"""Whole runs of the doctor, within the test's own process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from mooring.doctor.diagnosis import diagnose
from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.plan import Plan
from mooring.doctor.report import Outlook, Report


@dataclass
class Notes:
    """A listener that only remembers."""

    steps: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    done: tuple[int, int] = (0, 0)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def found(self, finding: Finding) -> None:
        self.findings.append(finding)

    def progress(self, done: int, wanted: int) -> None:
        self.done = (done, wanted)


async def run(url: str, **fields: Any) -> Report:
    """One run; a silent stream is held only where the test asks for it."""
    report = await diagnose(Plan(URL(url), **{"idle_seconds": 0.0, **fields}), Notes())
    assert not [one for one in report.findings if "doctor's own" in one.says], report.findings
    return report


def verdicts(report: Report) -> dict[str, str]:
    """The verdict of each check that had something to look at."""
    return {finding.check: str(finding.verdict) for finding in report.findings}


def finding(report: Report, check: str) -> Finding:
    return next(one for one in report.findings if one.check == check)


def is_called_healthy(report: Report) -> bool:
    """Whether it is, or would be but for a machine that is busy."""
    return report.outlook is Outlook.HEALTHY or set(problems(report, with_speed=True)) == {"speed"}


def problems(report: Report, *, with_speed: bool = False) -> dict[str, str]:
    """What is said of each check that is a warning or broken.

    That a ping takes a second is true on a machine that is busy enough, and is left out unless a test is about that.
    """
    found = [one for one in report.findings if one.verdict in (Verdict.WARNING, Verdict.BROKEN)]
    return {one.check: one.says for one in found if with_speed or one.check != "speed"}
