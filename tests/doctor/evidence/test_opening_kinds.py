"""What a refused `initialize` may mean."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence.opening_kinds import OpeningRefusal, refusal_of_opening


def error(status: int, message: str, code: int = -32000) -> Reply:
    return Reply(status, message={"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}})


def stream(body: bytes) -> Reply:
    """One that ended as a whole one does."""
    return Reply(200, CIMultiDictProxy(CIMultiDict({"Content-Type": "text/event-stream"})), body)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(trouble=Trouble.CUT), OpeningRefusal.NO_ANSWER),
        (Reply(trouble=Trouble.HANG), OpeningRefusal.NO_ANSWER),
        (stream(b""), OpeningRefusal.EMPTY),
        (stream(b": ping\r\n\r\n"), OpeningRefusal.EMPTY),
        (Reply(502, body=b"<html>Bad Gateway</html>"), OpeningRefusal.DOWN),
        (Reply(503, body=b"no available server"), OpeningRefusal.DOWN),
        (Reply(500), OpeningRefusal.DOWN),
        (Reply(401), OpeningRefusal.LOGIN),
        (Reply(403), OpeningRefusal.LOGIN),
        (Reply(403, body=b"Invalid Host header"), OpeningRefusal.HOST),
        (Reply(421), OpeningRefusal.HOST),
        (Reply(404, body=b"404 page not found"), OpeningRefusal.ELSEWHERE),
        (Reply(405), OpeningRefusal.ELSEWHERE),
        (Reply(200, body=b"<html>welcome</html>"), OpeningRefusal.ELSEWHERE),
        (error(400, "Invalid Request: Server already initialized", -32600), OpeningRefusal.TAKEN),
        (error(200, "already initialized"), OpeningRefusal.TAKEN),
        (error(200, "Already connected to a transport"), OpeningRefusal.TAKEN),
        (error(503, "Too many sessions"), OpeningRefusal.FULL),
        (error(503, "Maximum number of sessions reached"), OpeningRefusal.FULL),
        (error(429, "session limit"), OpeningRefusal.FULL),
        (Reply(429), OpeningRefusal.RATE),
        (error(200, "Method not found", -32601), OpeningRefusal.UNKNOWN_CALL),
        (error(400, "Unsupported protocol version", -32022), OpeningRefusal.VERSION),
        (error(400, "Invalid params", -32602), OpeningRefusal.OTHER),
    ],
)
def test_each_kind(reply: Reply, kind: OpeningRefusal) -> None:
    assert refusal_of_opening(reply) is kind
