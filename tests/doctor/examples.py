"""Replies, sessions and calls made by hand, for what is judged without a network."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.client.pace import Pace
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.examination import Call, Examination
from mooring.doctor.plan import Plan

REACHED = Reply(status=200, message={"jsonrpc": "2.0", "id": 1, "result": {}})
LOST = Reply(status=404, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "Session not found"}})
UNAVAILABLE = Reply(status=502)
THROTTLED = Reply(status=429)
HANG = Reply(trouble=Trouble.HANG)
CUT = Reply(trouble=Trouble.CUT)


def session(name: str = "abc", *cookies: str, version: str = "2025-11-25") -> Session:
    """A session that nobody opened; `cookies` are the Set-Cookie lines of its `initialize`."""
    headers = CIMultiDict([("Mcp-Session-Id", name), *(("Set-Cookie", cookie) for cookie in cookies)])
    opened = Reply(status=200, headers=CIMultiDictProxy(headers), message=REACHED.message)
    nothing = cast(Any, None)
    return Session(name, opened, version, {}, lane=nothing, jar=nothing)


def calls(of: Session, way: Way, *replies: Reply) -> list[Call]:
    return [Call(of, way, reply) for reply in replies]


def examination(made: Sequence[Call] = (), opened: Sequence[Session] = ()) -> Examination:
    """An examination in which these calls were made, and these sessions are open; nothing can be sent in it."""
    nothing = cast(Any, None)
    sessions = SimpleNamespace(opened=list(opened), sessionless=[], refused=[], attempts=[], openings=[])
    wire = SimpleNamespace(pace=Pace(), is_halted=False, minted=set())
    exam = Examination(Plan(URL("https://example.com/mcp")), cast(Any, wire), cast(Any, sessions), nothing)
    exam.calls = list(made)
    return exam


ONE, TWO = session("one"), session("two")


def alike(*replies: Reply) -> list[Call]:
    """The calls of two sessions that see the same in every way."""
    return [call for of in (ONE, TWO) for way in WAYS for call in calls(of, way, *replies)]
