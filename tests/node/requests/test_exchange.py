"""A request and its event stream: what is logged of which answers, and what the next owner is told of the request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mooring.asgi import WholeBody
from mooring.core.sse import SseParser
from mooring.node.requests import exchange
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.exchange import _BODY_BYTES, _NAME_LENGTH, can_be_logged, noted
from mooring.node.streams import listener as listening
from mooring.processes.tasks import end
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request, initialize, joined
from tests.node.moving.nodes import once

SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]


@pytest.mark.parametrize(
    ("start", "logged"),
    [
        ({"status": 200, "headers": SSE}, True),
        ({"status": 200, "headers": [(b"Content-Type", b"Text/Event-Stream")]}, True),
        ({"status": 200, "headers": [(b"content-type", b"application/json")]}, False),
        ({"status": 200, "headers": []}, False),
        ({"status": 202, "headers": SSE}, False),
        ({"status": 404, "headers": SSE}, False),
        ({"status": 200, "headers": [*SSE, (b"content-encoding", b"gzip")]}, False),
        ({"status": 200, "headers": [*SSE, (b"content-length", b"20")]}, False),
    ],
)
def test_an_event_stream_that_we_can_read_is_logged(start: dict[str, Any], logged: bool) -> None:
    assert can_be_logged(start) is logged


async def whole(data: bytes) -> RememberedBody:
    body = RememberedBody(WholeBody(data).receive, 2 * _BODY_BYTES)
    await body.read_rest()
    return body


async def test_a_call_is_noted_with_what_carries_it_out_again() -> None:
    body = b'{"id": "x", "method": "tools/call", "params": {"name": "look"}}'
    call = noted("stream", await whole(body), 1.0)
    assert (call.request_id_json, call.method, call.name) == ('"x"', "tools/call", "look")
    assert (call.body, call.started) == (body, 1.0)


async def test_of_a_large_one_the_body_is_left_out_and_a_long_name_is_cut() -> None:
    message = {"id": 1, "method": "resources/read", "params": {"uri": "u" * 1000}}
    call = noted("stream", await whole(json.dumps(message).encode() + b" " * _BODY_BYTES), 1.0)
    assert (call.body, call.name) == (b"", "u" * _NAME_LENGTH)


async def test_an_app_that_breaks_off_has_not_answered_and_the_client_is_told_so() -> None:
    app = ScriptedApp()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id

        async def break_off(scope: Any, body: bytes, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
            await send({"type": "http.response.body", "body": b"data: {}\n\ndata: ha", "more_body": True})
            raise RuntimeError("the app's own bug")

        app.on_session = break_off
        call = Request(session=session, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])
        with pytest.raises(RuntimeError, match="own bug"):
            await call.to(mooring)
        events = SseParser().feed(call.body)
        assert [event.data for event in events[:2]] == ["", "{}"]
        last = json.loads(events[-1].data)
        assert (last["id"], last["error"]["data"]["reason"]) == (7, "outcome_unknown")
        assert call.sent[-1]["more_body"] is False
        assert mooring._node.tally.outcomes == {"failed": 1}


async def test_a_client_that_stalls_is_let_go_at_once_and_comes_back_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may read on after a while: then it must not wait for what nobody sends it any more."""
    monkeypatch.setattr(listening, "STALL_SECONDS", 0.05)
    app, finish, asked = ScriptedApp(), asyncio.Event(), asyncio.Event()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id

        async def stream(scope: Any, body: bytes, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
            await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
            asked.set()
            await finish.wait()
            answered = b'data: {"jsonrpc": "2.0", "id": 7, "result": {}}\n\n'
            await send({"type": "http.response.body", "body": answered, "more_body": False})

        app.on_session = stream
        call = Request(session=session, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])

        async def send(message: Any) -> None:
            call.sent.append(message)
            if b"data: 1" in message.get("body", b""):
                await asyncio.Event().wait()

        async with asyncio.timeout(5):
            await mooring(call.scope, call.receive, send)
        assert asked.is_set()
        assert not finish.is_set()
        seen = [event.id for event in SseParser().feed(call.body) if event.id]
        finish.set()
        get = [(b"accept", b"text/event-stream"), (b"last-event-id", seen[-1].encode())]
        rest = await Request("GET", session=session, headers=get).to(mooring)
        assert [json.loads(event.data)["id"] for event in SseParser().feed(rest.body) if event.data] == [7]
        assert len([body for _, _, body in app.asked if b"tools/call" in body]) == 1


class Lingering:
    """An app that goes on after its answer until it hears that its client has left, and answers one request in place of
    all that have its id, as the SDKs' servers do."""

    def __init__(self) -> None:
        self.app = ScriptedApp()
        self.opened: list[Any] = []
        self.answer, self.left = asyncio.Event(), 0
        self.answers = b"7"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not dict(scope["headers"]).get(b"mcp-session-id"):
            await self.app(scope, receive, send)
            return
        while (await receive()).get("more_body", False):
            pass
        self.opened.append(send)
        await send({"type": "http.response.start", "status": 200, "headers": SSE})
        leaving, answering = asyncio.ensure_future(receive()), asyncio.ensure_future(self.answer.wait())
        await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done() and self.opened[-1] is send:
            answered = b'data: {"jsonrpc": "2.0", "id": %b, "result": {}}\n\n' % self.answers
            await send({"type": "http.response.body", "body": answered, "more_body": True})
        answering.cancel()
        await leaving
        self.left += 1


async def test_an_app_that_goes_on_after_its_answer_hears_that_its_client_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its stream, and the app's task, were there for ever."""
    monkeypatch.setattr(exchange, "_LAST_WORDS_SECONDS", 0.02)
    app = Lingering()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id
        call = Request(session=session, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])
        serving = asyncio.create_task(call.to(mooring))
        await once(lambda: len(app.opened) == 1, what="the app to begin")
        app.answer.set()
        await once(lambda: b"result" in call.body, what="its answer")
        await asyncio.sleep(0.1)  # a client that stays is no reason to end anything
        assert (app.left, serving.done()) == (0, False)
        call.leave()
        async with asyncio.timeout(5):
            await serving
        assert app.left == 1
        assert mooring._node.streams.open_streams == 0


@pytest.mark.parametrize("second_id", [b"7", b'"7"'])
async def test_a_request_under_an_id_that_was_given_twice_ends_with_its_client(
    monkeypatch: pytest.MonkeyPatch, second_id: bytes
) -> None:
    """Its server answers the second in its place, and it would run for ever: Python's SDKs take ids for texts."""
    monkeypatch.setattr(exchange, "_LAST_WORDS_SECONDS", 0.02)
    app = Lingering()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id
        called = b'{"jsonrpc": "2.0", "id": %b, "method": "tools/call"}'
        first, second = (Request(session=session, pieces=[called % request_id]) for request_id in (b"7", second_id))
        serving = [asyncio.create_task(first.to(mooring))]
        await once(lambda: len(app.opened) == 1, what="the first to begin")
        serving.append(asyncio.create_task(second.to(mooring)))
        await once(lambda: len(app.opened) == 2, what="the second to begin")
        first.leave()
        await asyncio.sleep(0.05)
        assert app.left == 0  # the app might end the second one with it
        app.answers = second_id
        app.answer.set()
        await once(lambda: b"result" in second.body, what="the answer")
        second.leave()
        async with asyncio.timeout(5):
            await asyncio.gather(*serving)
        seen = [event.id for event in SseParser().feed(first.body) if event.id]
        get = [(b"accept", b"text/event-stream"), (b"last-event-id", seen[0].encode())]
        rest = await Request("GET", session=session, headers=get).to(mooring)
        [said] = [json.loads(event.data) for event in SseParser().feed(rest.body) if event.data]
        assert (said["id"], said["error"]["data"]["reason"]) == (7, "outcome_unknown")


async def test_an_app_that_has_ended_the_session_is_asked_for_the_rest_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next life has the same id, and knows nothing of the request."""
    monkeypatch.setattr(exchange, "_AGAIN_SECONDS", 0.0)
    app, is_ended = ScriptedApp(), asyncio.Event()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id

        async def let_go(scope: Any, body: bytes, send: Any) -> None:
            if scope["method"] == "DELETE":
                await answer(send, 200, b"")
                is_ended.set()
                return
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
            if scope["method"] == "GET":
                await is_ended.wait()
            said = b"id: own-1\ndata:\n\n" if scope["method"] == "POST" else b""
            await send({"type": "http.response.body", "body": said, "more_body": False})

        app.on_session = let_go
        call = Request(session=session, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])
        calling = asyncio.create_task(call.to(mooring))
        await once(lambda: app.asked[-1][0] == "GET", what="our GET")
        await Request("DELETE", session=session).to(mooring)
        async with asyncio.timeout(5):
            await calling
        assert [method for method, _, _ in app.asked] == ["POST", "POST", "GET", "DELETE"]


@pytest.mark.parametrize("is_in_json", [False, True])
async def test_a_request_that_its_client_has_cancelled_ends_with_it(is_in_json: bool) -> None:
    """Its server need not answer it, and it would run for ever."""
    app, begun, left = ScriptedApp(), list[Any](), list[Any]()

    async def cancels(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not dict(scope["headers"]).get(b"mcp-session-id"):
            await app(scope, receive, send)
            return
        body = (await receive())["body"]
        if b"cancelled" in body:
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if not is_in_json:
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
        begun.append(body)
        assert (await receive())["type"] == "http.disconnect"
        left.append(body)

    async with joined(cancels) as mooring:
        session_id = (await initialize().to(mooring)).session_id
        called = b'{"jsonrpc": "2.0", "id": %d, "method": "tools/call"}'
        calls = [Request(session=session_id, pieces=[called % number]) for number in (7, 8)]
        serving = [asyncio.create_task(call.to(mooring)) for call in calls]
        await once(lambda: len(begun) == 2, what="both to begin")
        said = b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}'
        assert (await Request(session=session_id, pieces=[said]).to(mooring)).status == 202
        for call in calls:
            call.leave()
        async with asyncio.timeout(5):
            await serving[0]
        assert left == [called % 7]
        session = mooring._node.sessions.find(session_id)
        assert session is not None
        assert len(session.running) == 1  # its client may come back for the other
        await end(*serving)


async def test_an_app_that_lets_its_client_go_and_knows_nothing_more_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "_AGAIN_SECONDS", 0.0)
    app = ScriptedApp()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id

        async def let_go(scope: Any, body: bytes, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
            said = b"id: own-1\ndata:\n\n" if scope["method"] == "POST" else b""
            await send({"type": "http.response.body", "body": said, "more_body": False})

        app.on_session = let_go
        call = Request(session=session, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])
        async with asyncio.timeout(5):
            await call.to(mooring)
        assert [method for method, _, _ in app.asked] == ["POST", "POST", *["GET"] * exchange._TRIES_IN_VAIN]
        seen = [event.id for event in SseParser().feed(call.body) if event.id]
        get = [(b"accept", b"text/event-stream"), (b"last-event-id", seen[-1].encode())]
        rest = await Request("GET", session=session, headers=get).to(mooring)
        [said] = [json.loads(event.data) for event in SseParser().feed(rest.body) if event.data]
        assert (said["id"], said["error"]["data"]["reason"]) == (7, "outcome_unknown")


async def test_of_a_request_that_is_cut_off_its_session_knows_nothing_more_where_it_stays() -> None:
    app = Lingering()
    async with joined(app) as mooring:
        session_id = (await initialize().to(mooring)).session_id
        call = Request(session=session_id, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])
        serving = asyncio.create_task(call.to(mooring))
        await once(lambda: len(app.opened) == 1, what="the call to begin")
        session = mooring._node.sessions.find(session_id)
        assert session is not None
        assert len(session.asking) == 1
        for one in list(session.running):
            one.cut_off()
        async with asyncio.timeout(5):
            await serving
        assert mooring._node.sessions.find(session_id) is session
        assert (session.asking, session.running) == ({}, set())


async def test_a_json_answer_is_passed_on_as_it_is() -> None:
    app = ScriptedApp()
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id

        async def in_json(scope: Any, body: bytes, send: Any) -> None:
            await answer(send, 200, b'{"id": 7, "result": {}}')

        app.on_session = in_json
        call = Request(session=session, pieces=[b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'])
        await call.to(mooring)
        assert call.body == b'{"id": 7, "result": {}}'
        assert len(mooring._node.streams) == 0
