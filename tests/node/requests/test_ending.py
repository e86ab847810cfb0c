from __future__ import annotations

import pytest

from mooring.asgi import Receive, Scope, Send
from mooring.node.requests.ending import end_in_app
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request


def opened_by() -> Scope:
    headers = [(b"authorization", b"alice"), (b"content-length", b"77"), (b"content-type", b"application/json")]
    return Request(headers=headers).scope


async def test_the_app_gets_a_delete_as_from_whoever_opened_the_session(app: ScriptedApp) -> None:
    app.sessions.add("inner-1")
    assert await end_in_app(app, opened_by(), "inner-1")
    assert app.asked == [("DELETE", "inner-1", b"")]
    assert app.sessions == set()
    assert app.scopes[0]["headers"] == [(b"authorization", b"alice"), (b"mcp-session-id", b"inner-1")]


async def test_a_session_that_the_app_has_no_more_is_ended(app: ScriptedApp) -> None:
    assert await end_in_app(app, opened_by(), "inner-1")


@pytest.mark.parametrize("status", [401, 403, 405, 500])
async def test_an_app_that_refuses_goes_on_with_it(app: ScriptedApp, status: int) -> None:
    async def refuse(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, status, b"")

    app.gate = refuse
    assert not await end_in_app(app, opened_by(), "inner-1")


async def test_an_app_that_says_nothing_has_not_ended_it() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    assert not await end_in_app(silent, opened_by(), "inner-1")
