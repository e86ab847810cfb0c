"""GETs whose answer may be an HTTP+SSE stream: which of them are a session's, and how long it lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from mooring.asgi import Receive, Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import NodeState, SessionRecord, ShardOwner
from mooring.node.membership.session import ClosedSession
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node, running_nodes
from tests.core.views import a_node
from tests.node.http_sse_streams import StreamApp, StreamClient, streaming
from tests.waiting import until


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield http


@contextlib.asynccontextmanager
async def _on_three(http: aiohttp.ClientSession) -> AsyncIterator[tuple[list[RunningNode], list[StreamApp]]]:
    apps: list[StreamApp] = []

    def make_app() -> StreamApp:
        apps.append(StreamApp())
        return apps[-1]

    async with running_nodes(make_app) as nodes:
        yield nodes, apps


async def _is_ended(client: StreamClient) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        while await client.next_event() is not None:
            pass
    return True


async def _the_record(store: MemoryStore) -> SessionRecord | None:
    records = [record async for record in store.sessions()]
    return records[0] if records else None


async def test_a_session_lives_as_long_as_its_stream(http: aiohttp.ClientSession) -> None:
    store, app = MemoryStore(), StreamApp()
    closed: list[ClosedSession] = []
    async with running_node(app, store) as node:
        node.mooring.on_close(closed.append)
        async with streaming(http, node.url, headers={"x-user": "alice"}) as client:
            record = await _the_record(store)
            assert record is not None
            assert record.id == client.session_id
            assert record.node_id == node.id
            assert "alice" in record.principal
            assert SessionIds(SECRET).shard_of(client.session_id) in node.mooring._node.membership.shards

        async def is_closed() -> bool:
            return bool(closed) and await _the_record(store) is None

        await until(is_closed, what="the session to be closed")
        assert [(session.id, session.reason) for session in closed] == [(client.session_id, "ended")]
        status, body = await client.post(node.url, {"jsonrpc": "2.0", "method": "ping"})
        assert status == 404
        assert "expired" in body
        assert app.posted == []


async def test_only_the_id_changes_and_nothing_waits_for_more(http: aiohttp.ClientSession) -> None:
    app = StreamApp()
    app.before = [b": hello\n\n", b"retry: 1", b"000\n\n"]
    app.address = "https://public.example/messages?a=b&sessionId={}"
    async with running_node(app, MemoryStore()) as node, http.get(f"{node.url}/sse") as answer:
        expected = b": hello\n\nretry: 1000\n\nevent: endpoint\ndata: https://public.example/messages?a=b&sessionId="
        assert await answer.content.readexactly(len(expected)) == expected
        session_id = (await answer.content.readline()).decode().strip()
        assert SessionIds(SECRET).shard_of(session_id) is not None
        assert await answer.content.readline() == b"\n"


async def test_a_new_stream_goes_where_there_is_room_once_its_path_is_known(http: aiohttp.ClientSession) -> None:
    async with _on_three(http) as (nodes, apps):
        async with streaming(http, nodes[0].url):
            pass
        node = nodes[0].mooring._node
        node.membership.go(NodeState.DRAINING)
        await node.keeper.beat()
        async with streaming(http, nodes[0].url) as client:
            assert await client.call(nodes[0].url, "ping", {}) == {"posted": 1}
        assert apps[0].posted == []


async def test_a_stream_whose_session_has_another_owner_ends(http: aiohttp.ClientSession) -> None:
    store, app = MemoryStore(), StreamApp()
    closed: list[ClosedSession] = []
    async with running_node(app, store) as running:
        node = running.mooring._node
        running.mooring.on_close(closed.append)
        async with streaming(http, running.url) as client:
            shard = node.ids.shard_of(client.session_id) or ""
            await store.register(a_node("node-2-aaaaa"), 600)
            await store.claim(shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
            await node.keeper.beat()
            assert await asyncio.wait_for(_is_ended(client), 10)
        await node.sessions.settle()
        assert [session.reason for session in closed] == ["fenced"]
        record = await _the_record(store)
        assert record is not None  # it is the new owner's


async def test_it_ends_as_it_should_where_the_app_fails_when_it_is_cancelled(http: aiohttp.ClientSession) -> None:
    app, store = StreamApp(), MemoryStore()

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            raise RuntimeError("no response was returned") from None

    async with running_node(failing, store) as running:
        node = running.mooring._node
        async with streaming(http, running.url) as client:
            shard = node.ids.shard_of(client.session_id) or ""
            await store.register(a_node("node-2-aaaaa"), 600)
            await store.claim(shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
            await node.keeper.beat()
            async with asyncio.timeout(10):
                assert await client.next_event() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"headers": [(b"content-encoding", b"gzip")]}, "is compressed"),
        ({"address": "/messages/{}"}, "without a session id in its query"),
        ({"address": "/messages?sessionId={}&session_id=2"}, "without a session id in its query"),
        ({"name": "greeting"}, None),
        ({"headers": [(b"content-length", b"100")], "address": "/messages?sessionId={}"}, None),
    ],
)
async def test_a_stream_of_another_shape_is_left_alone_and_warned_of_once(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, change: dict[str, object], said: str | None
) -> None:
    app = StreamApp()
    vars(app).update(change)
    store = MemoryStore()
    async with running_node(app, store) as node:
        for n in range(2):
            async with http.get(f"{node.url}/sse", auto_decompress=False) as answer:
                expected = f"event: {app.name}\ndata: {app.address.format(f'inner-{n}')}\n\n".encode()
                assert await answer.content.readexactly(min(len(expected), 50)) == expected[:50]
                assert await _the_record(store) is None
    warnings = [record.getMessage() for record in caplog.records if "event stream at /sse" in record.getMessage()]
    assert len(warnings) == (said is not None)
    assert all(said in warning for warning in warnings if said)


@pytest.mark.parametrize(("paths", "is_kept"), [("/sse,/messages", True), ("/sse", False)])
async def test_where_endpoints_are_not_found_both_paths_are_named(
    http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, paths: str, is_kept: bool
) -> None:
    async with (
        running_nodes(StreamApp, 2, mcp_path=paths, find_endpoints=False) as nodes,
        streaming(http, nodes[0].url) as client,
    ):
        if is_kept:
            assert await client.call(nodes[1].url, "ping", {}) == {"posted": 1}
        else:
            assert client.session_id == "inner-0"
            assert "which is not in mcp_path" in caplog.text
