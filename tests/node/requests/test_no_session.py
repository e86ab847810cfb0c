"""Neither the app nor the client of a request outside of every session hears of one."""

from __future__ import annotations

from typing import Any

import pytest

from mooring.asgi import Message
from mooring.node.requests.no_session import naming_no_session, of_no_session

KEPT = (b"accept", b"*/*")


def test_the_app_sees_no_session_id_and_the_scope_stays_as_it_was() -> None:
    headers = [KEPT, (b"mcp-session-id", b"one"), (b"mcp-session-id", b"two")]
    scope: dict[str, Any] = {"type": "http", "headers": headers}
    assert of_no_session(scope)["headers"] == [KEPT]
    assert len(headers) == 3


def test_a_scope_without_one_is_passed_on_itself() -> None:
    scope: dict[str, Any] = {"type": "http", "headers": [KEPT]}
    assert of_no_session(scope) is scope


@pytest.mark.parametrize("named", [[], [(b"mcp-session-id", b"one")]])
async def test_the_client_hears_no_session_id_and_all_else(named: list[tuple[bytes, bytes]]) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    send_on = naming_no_session(send)
    await send_on({"type": "http.response.start", "status": 400, "headers": [KEPT, *named]})
    await send_on({"type": "http.response.body", "body": b"x"})
    assert sent == [
        {"type": "http.response.start", "status": 400, "headers": [KEPT]},
        {"type": "http.response.body", "body": b"x"},
    ]
