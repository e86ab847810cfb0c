"""An examination that has not begun, and answers to `initialize` as they may come."""

from __future__ import annotations

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.client.reply import Reply
from mooring.doctor.client.sessions import Sessions
from mooring.doctor.client.wire import Wire
from mooring.doctor.examination import Examination
from mooring.doctor.plan import Plan
from tests.doctor.runs import Notes


async def examination(**fields: object) -> Examination:
    plan = Plan(URL("https://h/mcp"), **fields)  # type: ignore[arg-type]
    async with Wire(plan) as wire:
        return Examination(plan, wire, Sessions(wire, 2), Notes())


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=CIMultiDictProxy(CIMultiDict(named)), body=body)
