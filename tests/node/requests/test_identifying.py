"""The app's own authentication tells who asks for a session that is gone, and the app has nothing to carry out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.authentication import SimpleUser

from mooring.asgi import App, Receive, Scope, Send, respond
from mooring.node.requests.identifying import UnidentifiedRequest
from mooring.node.requests.principal import principal_of
from tests.node.direct import Request

ALICE = principal_of({"user": SimpleUser("alice")})
LOST = "the-id-of-a-lost-session"


def app_of(name: str | None, answer: Callable[[Send], Awaitable[None]]) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if name is not None:
            scope["user"] = SimpleUser(name)
        await answer(send)

    return app


def saying(status: int) -> Callable[[Send], Awaitable[None]]:
    async def say(send: Send) -> None:
        await respond(send, status, b"the app's own words")

    return say


async def say_nothing(_: Send) -> None:
    pass


async def identify(app: App, request: Request | None = None) -> tuple[bool | None, Request]:
    asked = request or Request(session=LOST, pieces=[b"a call"])
    return await UnidentifiedRequest(asked.scope, asked.send, ALICE).identify(app), asked


@pytest.mark.parametrize("answer", [saying(200), saying(400), saying(404), say_nothing])
@pytest.mark.parametrize(("name", "is_alices"), [("alice", True), ("bob", False), (None, False)])
async def test_whom_the_app_names_asks_whatever_it_answers(name: str | None, is_alices: bool, answer: Any) -> None:
    found, asked = await identify(app_of(name, answer))
    assert found is is_alices
    assert asked.sent == []


@pytest.mark.parametrize("name", ["alice", "bob", None])
@pytest.mark.parametrize("status", [401, 403, 429])
async def test_who_is_turned_away_hears_it_from_the_app(name: str | None, status: int) -> None:
    found, asked = await identify(app_of(name, saying(status)))
    assert found is None
    assert (asked.status, asked.body) == (status, b"the app's own words")


@pytest.mark.parametrize(("name", "found"), [("alice", True), ("bob", None), (None, None)])
async def test_a_failure_counts_for_the_principal_alone(name: str | None, found: bool | None) -> None:
    said, asked = await identify(app_of(name, saying(503)))
    assert said is found
    assert [message.get("status") for message in asked.sent] == ([503, None] if found is None else [])


async def test_the_app_sees_neither_the_session_nor_the_body() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([dict(scope["headers"])[b"mcp-session-id"], await receive(), await receive()])

    found, asked = await identify(app)
    assert found is False
    assert seen[0] != LOST.encode()
    assert seen[1:] == [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    assert dict(asked.scope["headers"])[b"mcp-session-id"] == LOST.encode()


async def test_a_stream_that_nobody_reads_is_stopped() -> None:
    async def stream_for_ever(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})

    found, asked = await identify(app_of("alice", stream_for_ever))
    assert found is True
    assert asked.sent == []


async def test_an_app_that_fails_before_it_answers_says_nothing_of_anybody() -> None:
    async def fail(_: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await identify(app_of("alice", fail))


async def test_what_comes_after_the_answer_is_nobodys_business() -> None:
    async def fail_late(send: Send) -> None:
        await respond(send, 404, b"")
        raise ZeroDivisionError

    assert (await identify(app_of("bob", fail_late)))[0] is False
