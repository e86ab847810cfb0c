"""An examination that is ready for a check: contact is made, and all sessions are open."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from yarl import URL

from mooring.doctor.client.sessions import Sessions
from mooring.doctor.client.wire import Wire
from mooring.doctor.contact import make_contact
from mooring.doctor.evidence.openings import open_sessions
from mooring.doctor.examination import Examination
from mooring.doctor.plan import Plan
from tests.doctor.runs import Notes


@contextlib.asynccontextmanager
async def examined(url: str, **fields: Any) -> AsyncIterator[Examination]:
    """The examination of what is at that URL, as the checks after affinity find it; closes all in the end.

    Args:
        fields: of the plan.
    """
    plan = Plan(URL(url), **fields)
    async with Wire(plan) as wire:
        exam = Examination(plan, wire, Sessions(wire, plan.sessions), Notes())
        try:
            contact, reached = await make_contact(exam)
            assert reached, contact
            if exam.eras.gives_sessions:
                await open_sessions(exam)
            yield exam
        finally:
            await exam.close()
