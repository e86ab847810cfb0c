from __future__ import annotations

import json

import pytest

from mooring.doctor.client.protocol import answer

RESULT = {"jsonrpc": "2.0", "id": 7, "result": {}}


def error(message: str, code: int = -32600, **data: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 7, "error": {"code": code, "message": message, **({"data": data} if data else {})}}


EVENTS = (
    b": ping\r\n\r\nid: 1\r\ndata: \r\nretry: 200\r\n\r\n"
    b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\r\n\r\n'
    b'data: {"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"}\r\n\r\n'
    b'event: message\r\ndata: {"jsonrpc":"2.0","id":7,"result":{"a":1}}\r\n\r\n'
)


@pytest.mark.parametrize(
    ("body", "media_type", "expected"),
    [
        (EVENTS, "text/event-stream", {"jsonrpc": "2.0", "id": 7, "result": {"a": 1}}),
        (EVENTS[:-2], "text/event-stream", None),
        (json.dumps(RESULT).encode(), "application/json", RESULT),
        (json.dumps([{**error("x"), "id": 6}, RESULT]).encode(), "application/json", RESULT),
        (b'{"jsonrpc":"2.0","id":"server-error","error":{"code":1,"message":"no"}}', "application/json", "no"),
        (b'{"jsonrpc":"2.0","id":8,"result":{}}', "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b'{"hello": 1}', "application/json", None),
        (b"<html>", "text/html", None),
        (b"\xff\xfe", "application/json", None),
        (b"", "", None),
    ],
)
def test_the_answer_is_found(body: bytes, media_type: str, expected: object) -> None:
    found = answer(body, media_type, 7)
    if isinstance(expected, str):
        assert found is not None
        assert found["error"]["message"] == expected
    else:
        assert found == expected
