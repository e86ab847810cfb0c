"""Requests that may open a session: what is on record when their answer leaves, and what the client learns."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring import Mooring
from mooring.asgi import HeaderList, Receive, Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import Written
from mooring.node.membership import inner_ids
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node
from tests.node.apps import initialize_result
from tests.node.direct import Request, initialize, joined
from tests.node.rpc import INITIALIZE, RawClient
from tests.node.sdk_apps import sdk_app


async def test_the_record_is_written_before_the_answer_leaves(
    node: RunningNode, store: MemoryStore, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    record = await store.load_session(session)
    assert record is not None
    assert record.node_id == node.id
    assert record.client == "raw 1.0"
    assert record.protocol == "2025-11-25"
    assert json.loads(record.initialize) == INITIALIZE


async def test_no_inner_id_leaves_on_an_error_answer(node: RunningNode, store: MemoryStore, raw: RawClient) -> None:
    for method, body in [("POST", b"not json"), ("POST", {"method": "tools/list"}), ("GET", None), ("DELETE", None)]:
        reply = await raw.send(method, f"{node.url}/mcp", body=body)
        assert reply.status == 400
        assert "mcp-session-id" not in reply.headers
        assert b"inner-" not in reply.body
    assert [record async for record in store.sessions()] == []


async def test_sessions_are_spread_over_the_nodes_shards(node: RunningNode, raw: RawClient) -> None:
    ids = SessionIds(SECRET)
    shards = [ids.shard_of(await raw.open(node.url)) for _ in range(8)]
    assert sorted(shards) == sorted(node.mooring._node.membership.shards)  # type: ignore[type-var]


# How an answer passes, message by message.

JSON = b"application/json"
EVENTS = b"text/event-stream"
RESULT = initialize_result(1)
AS_EVENT = b"event: message\ndata: " + RESULT + b"\n\n"
PROGRESS = b'data: {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}\n\n'
LIMIT = 1024 * 1024
PROPERTY = settings(deadline=None, max_examples=60)

cuts = st.lists(st.integers(0, 250), max_size=5)


class AnsweringApp:
    """Reads the request, then answers in these pieces.

    Attributes:
        read: the bodies that it was sent.
        passed: how many messages had left for the client when it had sent each of its own.
    """

    def __init__(
        self, *pieces: bytes, content_type: bytes = JSON, status: int = 200, session_id: bytes | None = b"inner-1"
    ) -> None:
        named = [] if session_id is None else [(b"Mcp-Session-Id", session_id)]
        self.headers: HeaderList = [(b"content-type", content_type), *named]
        self.status = status
        self.pieces = pieces
        self.request = initialize()
        self.read: list[bytes] = []
        self.passed: list[int] = []
        self.crashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        self.read.append(body)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        self.passed.append(len(self.request.sent))
        for place, piece in enumerate(self.pieces):
            more = self.crashes or place < len(self.pieces) - 1
            await send({"type": "http.response.body", "body": piece, "more_body": more})
            self.passed.append(len(self.request.sent))
        if self.crashes:
            raise RuntimeError("the app's own bug")

    async def answer(self, mooring: Mooring, request: Request | None = None) -> Request:
        self.request = request or self.request
        return await self.request.to(mooring)


def in_pieces(text: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


class NoticingStore(MemoryStore):
    """Knows how much had left for the client when the record was written."""

    def __init__(self, app: AnsweringApp) -> None:
        super().__init__()
        self._app = app
        self.sent_before: list[int] = []

    async def save_session(self, record: Any, ttl_seconds: int) -> Written:
        self.sent_before.append(len(self._app.request.sent))
        return await super().save_session(record, ttl_seconds)


@PROPERTY
@given(st.sampled_from([JSON, EVENTS, b"Text/Event-Stream; charset=utf-8"]), cuts, st.booleans())
@example(EVENTS, [], True)
@example(EVENTS, [70, 74, 80], True)
@example(JSON, [10, 20], False)
async def test_an_answer_passes_as_it_came_after_its_record_however_it_was_cut(
    content_type: bytes, places: list[int], after_others: bool
) -> None:
    text = RESULT if content_type == JSON else (b": hello\n\n" + PROGRESS if after_others else b"") + AS_EVENT
    app = AnsweringApp(*in_pieces(text, places), content_type=content_type)
    store = NoticingStore(app)
    async with joined(app, store) as mooring:
        request = await app.answer(mooring)
        record = await store.load_session(request.session_id)
    assert store.sent_before == [0]
    assert record is not None
    assert (record.protocol, record.client) == ("2025-11-25", "raw 1.0")
    assert request.body == text
    assert [message["body"] for message in request.sent[1:]] == list(app.pieces)
    assert [message["more_body"] for message in request.sent[1:]] == [True] * (len(app.pieces) - 1) + [False]
    assert request.headers[b"content-type"] == content_type


async def test_nothing_is_held_any_more_once_the_result_was_read() -> None:
    app = AnsweringApp(AS_EVENT[:20], AS_EVENT[20:], PROGRESS, PROGRESS, content_type=EVENTS)
    async with joined(app) as mooring:
        await app.answer(mooring)
    assert app.passed == [0, 0, 3, 4, 5]


@pytest.mark.parametrize("content_type", [JSON, EVENTS])
async def test_an_answer_that_is_larger_than_any_should_be_is_not_held_for_ever(content_type: bytes) -> None:
    piece = b"x" * (LIMIT // 2 + 1)
    app = AnsweringApp(
        b'{"a": "' if content_type == JSON else b"data: ", piece, piece, piece, content_type=content_type
    )
    async with joined(app) as mooring:
        request = await app.answer(mooring)
        assert await mooring.has_session(request.session_id)
    assert app.passed == [0, 0, 0, 4, 5]
    assert request.body == b"".join(app.pieces)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"not json", b'{"method": "ping"}', b"[" * 100_000])
@pytest.mark.parametrize("content_type", [JSON, EVENTS])
async def test_an_app_that_names_a_session_has_opened_one_whatever_it_says_of_it(
    text: bytes, content_type: bytes
) -> None:
    app = AnsweringApp(b"data: " + text + b"\n\n" if content_type == EVENTS else text, content_type=content_type)
    store = MemoryStore()
    async with joined(app, store) as mooring:
        request = await app.answer(mooring)
        record = await store.load_session(request.session_id)
    assert request.body == app.pieces[0]
    assert record is not None
    assert record.protocol == ""


@pytest.mark.parametrize("answer", [{"result": None}, {"result": {"protocolVersion": 7}}, {"error": {"code": 1}}])
async def test_a_result_that_does_not_say_its_protocol_is_recorded_without(answer: dict[str, Any]) -> None:
    app = AnsweringApp(json.dumps({"jsonrpc": "2.0", "id": 1, **answer}).encode(), b"\n")
    store = MemoryStore()
    async with joined(app, store) as mooring:
        request = await app.answer(mooring)
        record = await store.load_session(request.session_id)
    assert app.passed == [0, 2, 3]
    assert record is not None
    assert record.protocol == ""


async def test_an_app_that_crashes_in_its_answer_has_opened_the_session_all_the_same() -> None:
    app = AnsweringApp(RESULT[:10])
    app.crashes = True
    async with joined(app) as mooring:
        with pytest.raises(RuntimeError, match="the app's own bug"):
            await app.answer(mooring)
        assert await mooring.has_session(app.request.session_id)
    assert app.request.body == RESULT[:10]
    assert app.request.sent[-1]["more_body"]


async def test_an_answer_without_a_session_id_opens_nothing_and_waits_for_nothing() -> None:
    app = AnsweringApp(b"{", b"}", session_id=None)
    store = MemoryStore()
    async with joined(app, store) as mooring:
        request = await app.answer(mooring)
        assert len(mooring._node.sessions) == 0
    assert app.passed == [1, 2, 3]
    assert b"mcp-session-id" not in request.headers
    assert [record async for record in store.sessions()] == []


async def test_nobody_waits_for_the_end_of_a_session_that_did_not_open() -> None:
    before = dict(inner_ids._when_ended)
    for app in (AnsweringApp(b"{}", session_id=None), AnsweringApp(b"{}", status=400), AnsweringApp(RESULT)):
        async with joined(app) as mooring:
            await app.answer(mooring)
            assert inner_ids._when_ended == before


async def test_an_app_that_takes_our_id_is_not_mapped_and_its_end_is_heard(raw: RawClient) -> None:
    store = MemoryStore()
    async with running_node(sdk_app(), store) as node:
        session = await raw.open(node.url)
        local = node.mooring._node.sessions.find(session)
        assert local is not None
        assert not local.is_mapped
        assert session in inner_ids._when_ended
        assert (await raw.send("DELETE", f"{node.url}/mcp", session=session)).status == 200
        assert session not in inner_ids._when_ended


# What a client says of itself.


async def record_of(body: bytes, pieces: list[int] | None = None) -> Any:
    """The record of a session that was opened with that body, and what the app got of it."""
    app, store = AnsweringApp(RESULT), MemoryStore()
    async with joined(app, store) as mooring:
        request = await app.answer(mooring, Request(pieces=in_pieces(body, pieces or [])))
        assert app.read == [body]
        return await store.load_session(request.session_id)


@pytest.mark.parametrize(("length", "is_kept"), [(1024 * 1024, True), (1024 * 1024 + 1, False), (3_000_000, False)])
async def test_a_body_that_is_too_large_to_keep_opens_a_session_all_the_same(length: int, is_kept: bool) -> None:
    start = json.dumps(INITIALIZE).encode()
    body = start + b" " * (length - len(start))
    record = await record_of(body, [100, 60_000, 1_100_000])
    assert record.initialize == (body if is_kept else b"")
    assert record.client == ("raw 1.0" if is_kept else "")
    assert record.protocol == "2025-11-25"


foreign = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "version", "x"]), inner),
    max_leaves=5,
)


@PROPERTY
@given(
    st.one_of(
        st.builds(lambda name, version: {"clientInfo": {"name": name, "version": version}}, foreign, foreign),
        st.builds(lambda info: {"clientInfo": info}, foreign),
        foreign,
    )
)
@example({"clientInfo": {"name": "\x1b[31mred\x1b[0m\r\n\u202e", "version": "x" * 1000}})
async def test_whatever_a_client_says_it_is_called_can_be_shown_and_has_a_bound(params: Any) -> None:
    body = json.dumps({**INITIALIZE, "params": params}).encode()
    record = await record_of(body)
    assert record.client.isprintable()
    assert len(record.client) <= 200
    assert record.initialize == body


async def test_who_opens_a_session_is_known_from_what_the_app_found_out() -> None:
    token = SimpleNamespace(claims={"iss": "https://issuer"}, subject="alice", client_id="client")
    app, store = AnsweringApp(RESULT), MemoryStore()

    async def authenticating(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = SimpleNamespace(access_token=token)
        await app(scope, receive, send)

    async with joined(authenticating, store) as mooring:
        request = await app.answer(mooring)
        record = await store.load_session(request.session_id)
    assert record is not None
    assert json.loads(record.principal) == ["https://issuer", "alice", "client"]
