"""Replies, sessions and calls made by hand, for what is judged without a network."""

from __future__ import annotations

from typing import Any, cast

from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.client.sessions import Session, Way
from mooring.doctor.examination import Call

REACHED = Reply(status=200, message={"jsonrpc": "2.0", "id": 1, "result": {}})
LOST = Reply(status=404, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32600, "message": "Session not found"}})
UNAVAILABLE = Reply(status=502)
THROTTLED = Reply(status=429)
HANG = Reply(trouble=Trouble.HANG)


def session(name: str = "abc", *cookies: str, version: str = "2025-11-25") -> Session:
    """A session that nobody opened; `cookies` are the Set-Cookie lines of its `initialize`."""
    headers = CIMultiDict([("Mcp-Session-Id", name), *(("Set-Cookie", cookie) for cookie in cookies)])
    opened = Reply(status=200, headers=CIMultiDictProxy(headers), message=REACHED.message)
    nothing = cast(Any, None)
    return Session(name, opened, version, {}, lane=nothing, jar=nothing)


def calls(of: Session, way: Way, *replies: Reply) -> list[Call]:
    return [Call(of, way, reply) for reply in replies]
