"""A diagnosis that examines nothing."""

from __future__ import annotations

from typing import Any

from mooring.doctor.plan import Plan
from mooring.doctor.report import Report
from tests.cli.doctor.reports import report


class Diagnosis:
    """Takes the place of the real one: keeps the plan, and answers with a report."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.report: Report = report()

    async def __call__(self, plan: Plan, *_: Any, **__: Any) -> Report:
        self.plans.append(plan)
        return self.report

    @property
    def plan(self) -> Plan:
        return self.plans[-1]
