"""What a peer passed on through Redis is to the app as from any server of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mooring.asgi import App, Receive, Scope, Send
from mooring.core.frames import Kind, Part, decode_start, encode_open
from mooring.node.links.redis_answering import Answering
from mooring.node.links.redis_exchange import BrokenOff, Exchange
from tests.node.apps import answer
from tests.node.links.mailboxes import ANSWERS, Ends, two_ends


@contextlib.asynccontextmanager
async def answered_by(app: App, state: dict[str, Any] | None = None) -> AsyncIterator[tuple[Ends, Exchange]]:
    """An exchange that has begun with a POST."""
    async with two_ends() as ends:
        ends.answering._answer = Answering(app, state or {}).answer
        exchange = ends.asking.begin(ANSWERS)
        exchange.say(encode_open("POST", b"/m%C3%A9p?a=%20", [(b"x-one", b"\xff")]))
        yield ends, exchange


async def heard(exchange: Exchange) -> tuple[int, bytes]:
    status, _ = decode_start(await exchange.hear())
    body = b""
    while (part := await exchange.hear()).kind is not Kind.END:
        body += part.data
    return status, body


async def test_the_app_sees_what_a_server_would_show_it() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        first, second = await receive(), await receive()
        assert (first["body"], first["more_body"], second["more_body"]) == (b"text", True, False)
        await answer(send, 201, b"done")

    async with answered_by(app, {"pool": 1}) as (_, exchange):
        await exchange.say_body(b"text")
        exchange.say(Part(Kind.END))
        assert await heard(exchange) == (201, b"done")
    [scope] = seen
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/mép", b"/m%C3%A9p")
    assert (scope["query_string"], scope["headers"]) == (b"a=%20", [(b"x-one", b"\xff")])
    assert scope["state"] == {"pool": 1}


async def test_one_copy_of_the_state_for_each_request() -> None:
    state: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["mine"] = True
        await answer(send, 200, b"")

    async with answered_by(app, state) as (_, exchange):
        assert (await heard(exchange))[0] == 200
    assert state == {}


async def test_an_app_hears_that_who_asked_has_left_and_what_it_sends_goes_nowhere() -> None:
    said: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        said.append((await receive())["type"])
        await answer(send, 200, b"too late")
        said.append("ended")

    async with answered_by(app) as (ends, exchange):
        exchange.say(Part(Kind.END))
        await ends.turns()
        exchange.close(Part(Kind.LEAVE))
        await ends.turns()
        assert said == ["http.disconnect", "ended"]
        assert ends.answering._exchanges == {}


async def test_an_app_that_has_answered_hears_of_the_end() -> None:
    said: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, 200, b"early")
        said.append((await asyncio.wait_for(receive(), 5))["type"])

    async with answered_by(app) as (ends, exchange):
        assert await heard(exchange) == (200, b"early")
        exchange.close(Part(Kind.LEAVE))
        await ends.turns()
    assert said == ["http.disconnect"]


@pytest.mark.parametrize("has_begun", [False, True])
async def test_an_app_that_fails_breaks_it_off_and_is_told_of(
    has_begun: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if has_begun:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("it fails")

    async with answered_by(app) as (_, exchange):
        with pytest.raises(BrokenOff):
            await heard(exchange)
    assert "it fails" in caplog.text


async def test_a_request_that_does_not_read_reaches_no_app() -> None:
    called: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        called.append(scope)

    async with two_ends() as ends:
        ends.answering._answer = Answering(app, {}).answer
        exchange = ends.asking.begin(ANSWERS)
        exchange.say(Part(Kind.OPEN, b"{}"))
        with pytest.raises(BrokenOff):
            await exchange.hear()
    assert called == []
