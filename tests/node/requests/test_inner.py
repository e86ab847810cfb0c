"""What Mooring itself asks the app: in whose name, and what is read of the answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from mooring.asgi import App, Message, Receive, Scope, Send, header
from mooring.core.answer_reader import LIMIT_BYTES as ANSWER_LIMIT_BYTES
from mooring.node.requests.inner import ask, scope_for

WORK: set[asyncio.Task[None]] = set()
RESULT = {"jsonrpc": "2.0", "id": 1, "result": {"ok": True}}
ERROR = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "no"}}
NOTE = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}


def a_scope(*headers: tuple[bytes, bytes]) -> Scope:
    return {
        "type": "http",
        "method": "GET",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "headers": [(b"host", b"mcp.example.org"), *headers],
    }


def answering(status: int, *bodies: bytes, kind: bytes = b"application/json", session: bytes | None = None) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"Content-Type", kind)] + ([(b"Mcp-Session-Id", session)] if session else [])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for body in bodies:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


def event(message: object) -> bytes:
    return f"data: {json.dumps(message)}\r\n\r\n".encode()


def test_it_is_asked_in_the_name_of_whoever_asked_and_as_a_request_of_its_own() -> None:
    like = a_scope(
        (b"authorization", b"Bearer alice"),
        (b"x-tenant", b"a"),
        (b"Mcp-Session-Id", b"public"),
        (b"last-event-id", b"7"),
        (b"content-length", b"3"),
        (b"mcp-protocol-version", b"2024-11-05"),
        (b"accept", b"text/event-stream"),
        (b"accept-encoding", b"gzip"),
    )
    scope = scope_for(like)
    assert scope["method"] == "POST"
    assert dict(scope["headers"]) == {
        b"host": b"mcp.example.org",
        b"authorization": b"Bearer alice",
        b"x-tenant": b"a",
        b"accept": b"application/json, text/event-stream",
        b"content-type": b"application/json",
    }
    assert like["method"] == "GET"
    assert len(like["headers"]) == 9


def test_on_a_session_it_names_it_and_the_revision() -> None:
    headers = dict(scope_for(a_scope(), "inner-1", "2025-11-25")["headers"])
    assert (headers[b"mcp-session-id"], headers[b"mcp-protocol-version"]) == (b"inner-1", b"2025-11-25")
    assert b"mcp-protocol-version" not in dict(scope_for(a_scope(), "inner-1")["headers"])
    listening = scope_for(a_scope(), "inner-1", method="GET")
    assert (listening["method"], header(listening["headers"], b"accept")) == ("GET", b"text/event-stream")


async def test_the_app_gets_the_whole_message_and_its_length() -> None:
    got: list[Message] = []
    lengths: list[bytes | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        lengths.append(header(scope["headers"], b"content-length"))
        got.append(await receive())
        await answering(202)(scope, receive, send)
        got.append(await receive())

    answer = await ask(app, scope_for(a_scope()), b'{"a": 1}', WORK.add)
    assert lengths == [b"8"]
    assert got == [{"type": "http.request", "body": b'{"a": 1}', "more_body": False}, {"type": "http.disconnect"}]
    assert (answer.status, answer.message, answer.session_id) == (202, None, None)
    assert answer.is_good


@pytest.mark.parametrize(
    ("app", "message", "is_good"),
    [
        (answering(200, json.dumps(RESULT).encode()), RESULT, True),
        (answering(200, b'{"jsonrpc": "2.0", ', b'"id": 1, "result": {"ok": true}}'), RESULT, True),
        (answering(200, event(NOTE), event(RESULT), kind=b"text/event-stream; charset=utf-8"), RESULT, True),
        (answering(200, event(ERROR), kind=b"text/event-stream"), ERROR, False),
        (answering(200, json.dumps(ERROR).encode()), ERROR, False),
        (answering(401, b"sign in", kind=b"text/plain"), None, False),
        (answering(503), None, False),
    ],
    ids=["json", "in pieces", "a stream", "an error in a stream", "an error", "turned away", "failed"],
)
async def test_what_is_read_of_the_answer(app: App, message: object, is_good: bool) -> None:
    answer = await ask(app, scope_for(a_scope()), b"{}", WORK.add)
    assert (answer.message, answer.is_good) == (message, is_good)


async def test_the_session_that_it_names() -> None:
    answer = await ask(answering(200, b"", session=b"inner-7"), scope_for(a_scope()), b"{}", WORK.add)
    assert answer.session_id == "inner-7"


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
async def test_an_answer_without_an_end_is_left(kind: bytes) -> None:
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        piece = b"x" * 100_000
        while sent < 10 * ANSWER_LIMIT_BYTES:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += len(piece)
            if sent > ANSWER_LIMIT_BYTES + 200_000:
                assert (await receive())["type"] == "http.disconnect"
                return

    answer = await ask(app, scope_for(a_scope()), b"{}", WORK.add)
    assert sent < 2 * ANSWER_LIMIT_BYTES
    assert answer.message is None
    assert len(answer.body) <= ANSWER_LIMIT_BYTES + 100_000


async def test_a_stream_is_left_when_the_answer_is_there() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": event(RESULT), "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": event(ERROR), "more_body": True})

    assert (await ask(app, scope_for(a_scope()), b"{}", WORK.add)).message == RESULT


async def test_who_asks_is_read_when_the_answer_begins() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = "alice"
        await answering(200)(scope, receive, send)

    users: list[object] = []
    await ask(app, scope_for(a_scope()), b"{}", WORK.add, when_begun=lambda scope: users.append(scope["user"]))
    assert users == ["alice"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_app_that_raises_has_failed(when: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if when == "after":
            await answering(200, json.dumps(RESULT).encode(), session=b"inner-1")(scope, receive, send)
        raise ZeroDivisionError

    answer = await ask(app, scope_for(a_scope()), b"{}", WORK.add)
    assert (answer.status, answer.message, answer.is_good) == (500, None, False)


async def test_what_an_app_does_after_its_answer_keeps_nobody_waiting() -> None:
    goes_on = asyncio.Event()
    done: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answering(200, json.dumps(RESULT).encode())(scope, receive, send)
        await goes_on.wait()
        done.append("all")

    work: list[asyncio.Task[None]] = []
    assert (await ask(app, scope_for(a_scope()), b"{}", work.append)).message == RESULT
    goes_on.set()
    await work[0]
    assert done == ["all"]


async def test_whoever_stops_asking_stops_the_app() -> None:
    has_begun, ended = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asking = asyncio.create_task(ask(app, scope_for(a_scope()), b"{}", WORK.add))
    await has_begun.wait()
    asking.cancel()
    await asyncio.wait({asking})
    assert asking.cancelled()
    assert ended.is_set()
