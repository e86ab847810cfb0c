"""What becomes of requests that a node is serving when their session turns out to be another node's."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mooring import Mooring
from mooring.asgi import Scope, Send
from mooring.core.model import ShardOwner
from mooring.core.sse import SseParser
from mooring.node.membership.session import ClosedSession
from mooring.store import MemoryStore
from tests.core.views import a_node
from tests.fakes import Clock, FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.direct import Request, initialize, joined
from tests.node.moving.nodes import once

CALL = b'{"jsonrpc": "2.0", "id": "call 1", "method": "tools/call", "params": {}}'
JSON = [(b"content-type", b"application/json")]
SSE = [(b"content-type", b"text/event-stream")]


class Cut:
    """A node with a session that can be lost while the app serves a request of it.

    Attributes:
        ledger: what the app saw of it.
        closed: what `on_close` was told.
    """

    def __init__(self, mooring: Mooring, app: ScriptedApp, store: MemoryStore, session: str) -> None:
        self.mooring = mooring
        self.app = app
        self.store = store
        self.session = session
        self.ledger: list[str] = []
        self.closed: list[ClosedSession] = []
        mooring.on_close(self.closed.append)

    async def lose(self) -> None:
        """Another node has the shard, as the store says with the next heartbeat."""
        node = self.mooring._node
        shard = node.ids.shard_of(self.session) or ""
        await self.store.register(a_node("node-2-aaaaa"), 600)
        await self.store.claim(shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
        await node.keeper.beat()
        await node.sessions.settle()

    async def serving(self, serve: Callable[[Send], Awaitable[None]], method: str = "POST") -> Request:
        """A request of the session, lost while the app is in the middle of it."""
        begun = asyncio.Event()

        async def begin(scope: Scope, body: bytes, send: Send) -> None:
            if scope["method"] == "DELETE":
                self.ledger.append("session ended")
                await answer(send, 200, b"")
                return
            try:
                await serve(send)
                begun.set()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.ledger.append("cancelled")
                raise

        self.app.on_session = begin
        request = Request(method, session=self.session, pieces=[CALL if method == "POST" else b""])
        task = asyncio.create_task(request.to(self.mooring))
        await begun.wait()
        await self.lose()
        async with asyncio.timeout(5):
            await task
        assert not task.cancelled()
        assert task.cancelling() == 0
        return request


@pytest.fixture
async def cut(app: ScriptedApp, store: MemoryStore) -> AsyncIterator[Cut]:
    async with joined(app, store) as mooring:
        yield Cut(mooring, app, store, (await initialize().to(mooring)).session_id)


async def nothing(send: Send) -> None:
    """The app has not answered yet."""


def begins(headers: list[tuple[bytes, bytes]], *pieces: bytes) -> Callable[[Send], Awaitable[None]]:
    async def begin(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    return begin


async def test_a_call_that_was_not_answered_yet_is_answered_that_nobody_knows(cut: Cut) -> None:
    request = await cut.serving(nothing)
    assert request.status == 200
    assert json.loads(request.body)["id"] == "call 1"
    assert request.reason == "outcome_unknown"
    assert sorted(cut.ledger) == ["cancelled", "session ended"]
    assert cut.closed == [ClosedSession(cut.session, "fenced", "")]
    assert (await cut.store.load_session(cut.session)) is not None


@pytest.mark.parametrize("piece", [b"data: 1\n\n", b"data: ha"], ids=["between events", "within an event"])
async def test_a_stream_for_a_call_ends_and_its_client_may_ask_the_new_owner_for_the_answer(
    cut: Cut, piece: bytes
) -> None:
    request = await cut.serving(begins(SSE, piece))
    events = SseParser().feed(request.body)
    assert [event.data for event in events] == (["", "1"] if piece.endswith(b"\n\n") else [""])
    assert all(event.id for event in events)
    assert request.body.endswith(b"\n\n")
    assert request.sent[-1]["more_body"] is False


async def test_a_listening_stream_ends_and_says_when_to_come_back(cut: Cut) -> None:
    request = await cut.serving(begins(SSE, b"data: 1\n\n"), "GET")
    assert request.body == b"data: 1\n\nretry: 3000\n\n"
    assert request.sent[-1]["more_body"] is False


async def test_one_that_had_not_begun_is_told_the_same(cut: Cut) -> None:
    request = await cut.serving(nothing, "GET")
    assert (request.status, request.body) == (200, b"retry: 3000\n\n")


async def test_one_that_is_cut_off_for_two_reasons_at_once_is_told_the_same(cut: Cut) -> None:
    begun = asyncio.Event()

    async def begin(scope: Scope, body: bytes, send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    cut.app.on_session = begin
    request = Request("POST", session=cut.session, pieces=[CALL])
    task = asyncio.create_task(request.to(cut.mooring))
    await begun.wait()
    session = cut.mooring._node.sessions.find(cut.session)
    assert session is not None
    (running,) = session.running
    running.cut_off()
    running.cut_off()
    async with asyncio.timeout(5):
        await task
    assert json.loads(request.body)["id"] == "call 1"
    assert request.reason == "outcome_unknown"


async def test_half_an_answer_is_broken_off(cut: Cut) -> None:
    request = await cut.serving(begins(JSON, b'{"half":'))
    assert request.sent[-1]["more_body"] is True


async def test_what_the_app_says_after_that_goes_nowhere(cut: Cut) -> None:
    """It may catch its cancellation, and finish."""
    begun, result = asyncio.Event(), b'{"jsonrpc": "2.0", "id": "call 1", "result": {}}'

    async def stubborn(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "DELETE":
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await begins(JSON, result)(send)

    cut.app.on_session = stubborn
    request = Request(session=cut.session, pieces=[CALL])
    task = asyncio.create_task(request.to(cut.mooring))
    await begun.wait()
    await cut.lose()
    await task
    assert request.reason == "outcome_unknown"
    assert task.cancelling() == 0


async def test_the_answer_of_a_node_that_was_paused_waits_until_the_node_may_serve(cut: Cut) -> None:
    node = cut.mooring._node
    clock = Clock(node.keeper._now())
    pieces: list[bytes] = []

    async def pause_and_answer(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "DELETE":
            return
        node.keeper._now = clock
        clock.now += 10_000
        pieces.append(b'{"result": "of the paused"}')
        await begins(JSON, pieces[0])(send)

    cut.app.on_session = pause_and_answer
    kept = await Request(session=cut.session, pieces=[CALL]).to(cut.mooring)
    assert kept.body == pieces[0]
    shard = node.ids.shard_of(cut.session) or ""
    await cut.store.register(a_node("node-2-aaaaa"), 10**6)
    await cut.store.claim(shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
    lost = await Request(session=cut.session, pieces=[CALL]).to(cut.mooring)
    assert len(pieces) == 2
    assert lost.reason == "outcome_unknown"
    await node.sessions.settle()
    assert [closed.reason for closed in cut.closed] == ["fenced"]


async def test_so_does_one_whose_stream_the_app_had_closed(cut: Cut) -> None:
    """Its client has come back, and the app says the rest to a GET of ours."""
    node, asked, speak = cut.mooring._node, asyncio.Event(), asyncio.Event()
    clock = Clock(node.keeper._now())

    async def let_go(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "POST":
            await begins(SSE, b"id: own-1\ndata:\n\n")(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif dict(scope["headers"]).get(b"last-event-id") == b"own-1":
            asked.set()
            await speak.wait()
            node.keeper._now = clock
            clock.now += 10_000
            await begins(SSE, b'data: {"jsonrpc": "2.0", "id": "call 1", "result": "of the paused"}\n\n')(send)

    cut.app.on_session = let_go
    call = Request(session=cut.session, pieces=[CALL])
    calling = asyncio.create_task(call.to(cut.mooring))
    await asked.wait()
    seen = [event.id for event in SseParser().feed(call.body) if event.id]
    headers = [(b"accept", b"text/event-stream"), (b"last-event-id", (seen[-1] or "").encode())]
    again = Request("GET", session=cut.session, headers=headers)
    listening = asyncio.create_task(again.to(cut.mooring))
    await once(lambda: len(again.sent) > 1, what="its client to be back")
    await cut.store.register(a_node("node-2-aaaaa"), 10**6)
    shard = node.ids.shard_of(cut.session) or ""
    await cut.store.claim(shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
    speak.set()
    async with asyncio.timeout(5):
        await asyncio.gather(calling, listening)
    assert b"of the paused" not in again.body
    assert again.sent[-1]["more_body"] is False


async def test_a_server_that_cancels_a_request_itself_is_not_held_up_and_the_work_goes_on(cut: Cut) -> None:
    """Hypercorn does so when a client leaves."""
    begun, finish, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, body: bytes, send: Send) -> None:
        begun.set()
        await finish.wait()
        finished.set()

    cut.app.on_session = wait
    task = asyncio.create_task(Request(session=cut.session, pieces=[CALL]).to(cut.mooring))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not finished.is_set()
    finish.set()
    await asyncio.wait_for(finished.wait(), 5)
    await cut.mooring._node.sessions.settle()
    session = cut.mooring._node.sessions.find(cut.session)
    assert session is not None
    assert session.running == set()


async def test_sessions_of_other_shards_are_left_alone(cut: Cut) -> None:
    other = (await initialize().to(cut.mooring)).session_id
    assert cut.mooring._node.ids.shard_of(other) != cut.mooring._node.ids.shard_of(cut.session)
    await cut.serving(nothing)
    assert await cut.mooring.has_session(other)


async def test_an_app_that_will_not_end_it_is_told_of(cut: Cut, caplog: pytest.LogCaptureFixture) -> None:
    async def gate(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 405, b"")

    cut.app.gate = gate
    await cut.lose()
    assert "goes on with session" in caplog.text
    assert cut.session not in caplog.text
    assert [closed.reason for closed in cut.closed] == ["fenced"]


async def test_a_call_that_was_cut_off_has_an_outcome_also_where_its_session_stays(app: ScriptedApp) -> None:
    """The lease was over for longer than a request may wait, and nobody has taken the session meanwhile."""
    store, begun, may_go_on = FlakyStore(MemoryStore()), asyncio.Event(), asyncio.Event()

    async def begin(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "POST":
            await answer(send, 405, b"")
            return
        await begins(SSE, b"data: 1\n\n")(send)
        begun.set()
        await may_go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})
        await asyncio.Event().wait()

    async with joined(app, store, stream_write_after_seconds=0.001) as mooring:
        node = mooring._node
        session = (await initialize().to(mooring)).session_id
        await store.inner.register(a_node("node-2-aaaaa"), 10**6)
        await node.keeper.beat()
        app.on_session = begin
        request = Request(session=session, pieces=[CALL])
        task = asyncio.create_task(request.to(mooring))
        await begun.wait()
        clock = Clock(node.keeper._now() + 10_000)

        async def sleep(seconds: float) -> None:
            clock.now += seconds

        node.keeper._now, node.keeper._sleep, store.away = clock, sleep, True
        may_go_on.set()
        async with asyncio.timeout(5):
            await task
        store.away = False
        assert await node.keeper.regain()
        [last_id] = [event.id for event in SseParser().feed(request.body)][-1:]
        headers = [(b"accept", b"text/event-stream"), (b"last-event-id", (last_id or "").encode())]
        async with asyncio.timeout(5):
            resumed = await Request("GET", session=session, headers=headers).to(mooring)
        assert [json.loads(event.data)["error"]["data"]["reason"] for event in SseParser().feed(resumed.body)] == [
            "outcome_unknown"
        ]
