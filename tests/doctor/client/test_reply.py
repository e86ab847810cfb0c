from __future__ import annotations

import json

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Outcome, Reply, Trouble

RESULT = {"jsonrpc": "2.0", "id": 7, "result": {}}


def error(message: str, code: int = -32600, **data: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 7, "error": {"code": code, "message": message, **({"data": data} if data else {})}}


def reply(status: int, message: dict[str, object] | None = None, body: bytes = b"") -> Reply:
    return Reply(status=status, message=message, body=body or (json.dumps(message).encode() if message else b""))


@pytest.mark.parametrize(
    ("given", "outcome", "label"),
    [
        (reply(200, RESULT), Outcome.REACHED, "200"),
        (reply(200, error("no such tool")), Outcome.REACHED, "200 no such tool"),
        (reply(404, error("Session not found")), Outcome.LOST, "404 Session not found"),
        (reply(404, body=b"<html>not here</html>"), Outcome.LOST, "404"),
        (reply(404, error("gone", reason="owner_lost")), Outcome.LOST, "404 owner_lost"),
        (reply(400, error("Bad Request: No valid session ID provided")), Outcome.LOST, None),
        (reply(400, error("Server not initialized")), Outcome.LOST, None),
        (reply(400, body=b"Invalid session"), Outcome.LOST, "400 Invalid session"),
        (reply(400, error("Unsupported protocol version")), Outcome.ODD, None),
        (reply(200, error("session expired")), Outcome.LOST, None),
        (reply(200, error("later", reason="unreachable")), Outcome.UNAVAILABLE, "200 unreachable"),
        (reply(200, error("later", reason="not_revived")), Outcome.UNAVAILABLE, "200 not_revived"),
        (reply(200, error("Unknown tool: open_session", code=-32602)), Outcome.REACHED, None),
        (reply(200, error("Method not found", code=-32601)), Outcome.REACHED, None),
        (reply(400, error("Method not found", code=-32601)), Outcome.REACHED, None),
        (reply(404, error("Method not found", code=-32601)), Outcome.REACHED, None),
        (reply(400, error("Invalid session id", code=-32602)), Outcome.LOST, None),
        (reply(401, body=b"who are you?"), Outcome.LOGIN, "401 who are you?"),
        (reply(403), Outcome.LOGIN, "403"),
        (reply(429), Outcome.THROTTLED, "429"),
        (reply(502, body=b"<h1>Bad Gateway</h1>"), Outcome.UNAVAILABLE, "502"),
        (reply(202), Outcome.ODD, "202"),
        (reply(200, body=b"<html>hello</html>"), Outcome.ODD, "200"),
        (Reply(trouble=Trouble.HANG), Outcome.HANG, "no answer in time"),
        (Reply(), Outcome.HANG, "no answer in time"),
        (Reply(trouble=Trouble.CUT), Outcome.CUT, "connection closed before the answer was whole"),
        (Reply(trouble=Trouble.REFUSED), Outcome.CUT, "connection refused"),
    ],
)
def test_what_a_reply_means_for_its_session(given: Reply, outcome: Outcome, label: str | None) -> None:
    assert given.outcome is outcome
    assert label is None or given.label == label


def test_a_label_is_short_and_prints() -> None:
    assert reply(400, error("\x1b[31m" + "x" * 500)).label == "400 " + "x" * 55 + "…"


def test_the_media_type_is_without_its_parameters() -> None:
    headers = CIMultiDictProxy(CIMultiDict({"content-type": "Text/Event-Stream; charset=utf-8"}))
    assert Reply(200, headers).media_type == "text/event-stream"


def test_who_speaks_of_the_wrong_connection_knows_the_session() -> None:
    said = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32000, "message": "Session is bound to another connection"},
    }
    assert {Reply(status=status, message=said).outcome for status in (409, 421)} == {Outcome.ODD}
    assert Reply(status=400, message=said).outcome is Outcome.LOST
