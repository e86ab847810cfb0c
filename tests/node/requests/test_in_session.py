"""Sessions of an app whose ids are its own: mapped both ways, recorded, closed, and bound to their principal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from mooring import ClosedSession
from mooring.asgi import Scope, Send
from mooring.core.ids import SessionIds
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node
from tests.node.apps import ScriptedApp, answer
from tests.node.rpc import INITIALIZE, RawClient
from tests.waiting import until


@pytest.fixture
def app() -> ScriptedApp:
    return ScriptedApp()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(app: ScriptedApp, store: MemoryStore) -> AsyncIterator[RunningNode]:
    async with running_node(app, store) as running:
        yield running


def user(subject: str, client: str = "client") -> Any:
    token = SimpleNamespace(claims={"iss": "https://issuer"}, subject=subject, client_id=client, token="t0p-s3cret")
    return SimpleNamespace(access_token=token)


def by_header(scope: Scope) -> Any:
    """The user that the Authorization header names, as authentication middleware would find out."""
    name = next((value.decode() for key, value in scope["headers"] if key == b"authorization"), None)
    return user(name) if name else None


async def test_the_client_sees_the_public_id_and_the_app_its_own(
    node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    assert SessionIds(SECRET).shard_of(session) in node.mooring._node.membership.shards
    reply = await raw.call(node.url, session)
    assert reply.status == 200
    assert reply.session_id == session
    assert app.asked[-1][1] == "inner-1"
    assert b"inner" not in reply.body


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


async def test_an_error_on_a_session_names_the_public_id(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    session = await raw.open(node.url)

    async def fail(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 406, b"{}", "inner-1")

    app.on_session = fail
    reply = await raw.call(node.url, session)
    assert (reply.status, reply.session_id) == (406, session)


async def test_a_session_the_app_dropped_is_closed_and_its_record_goes(
    node: RunningNode, app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    closed: list[ClosedSession] = []
    node.mooring.on_close(closed.append)
    session = await raw.open(node.url)
    app.sessions.clear()
    assert (await raw.call(node.url, session)).status == 404
    assert await store.load_session(session) is None
    assert closed == [ClosedSession(session, "ended", "")]
    assert (await raw.call(node.url, session)).reason == "expired"


async def test_a_404_below_the_mcp_path_says_nothing_of_the_session(
    node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    kept, app.sessions = app.sessions, set()
    assert (await raw.send("GET", f"{node.url}/mcp/files/none", session=session)).status == 404
    app.sessions = kept
    assert (await raw.call(node.url, session)).status == 200


async def test_delete_closes_the_session_everywhere(
    node: RunningNode, app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    closed: list[ClosedSession] = []

    @node.mooring.on_close
    async def remember(session: ClosedSession) -> None:
        closed.append(session)

    session = await raw.open(node.url)
    assert (await raw.send("DELETE", f"{node.url}/mcp", session=session)).status == 200
    assert await store.load_session(session) is None
    assert closed == [ClosedSession(session, "deleted", "")]
    assert not await node.mooring.has_session(session)
    reply = await raw.call(node.url, session)
    assert (reply.status, reply.reason) == (404, "expired")


async def test_a_stream_that_ends_with_its_deleted_session_does_not_change_the_reason(
    app: ScriptedApp, raw: RawClient
) -> None:
    class SlowStore(MemoryStore):
        async def delete_session(self, session_id: str) -> bool:
            await stream_ended.wait()
            return await super().delete_session(session_id)

    closed: list[ClosedSession] = []
    streaming, delete_came, stream_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stream_until_deleted(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "DELETE":
            delete_came.set()
            await answer(send, 200, b"", "inner-1")
            return
        streaming.set()
        await delete_came.wait()
        await answer(send, 200, b"", "inner-1")

    app.on_session = stream_until_deleted
    async with running_node(app, SlowStore()) as node:
        node.mooring.on_close(closed.append)
        session = await raw.open(node.url)
        stream = asyncio.create_task(raw.send("GET", f"{node.url}/mcp", session=session))
        await streaming.wait()
        deletion = asyncio.create_task(raw.send("DELETE", f"{node.url}/mcp", session=session))
        await stream
        stream_ended.set()
        assert (await deletion).status == 200
    assert closed == [ClosedSession(session, "deleted", "")]


@pytest.mark.parametrize(("status", "remains"), [(500, False), (404, False), (405, True), (401, True)])
async def test_a_failed_close_removes_the_record_and_a_forbidden_one_does_not(
    status: int, remains: bool, node: RunningNode, app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    session = await raw.open(node.url)

    async def fail(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, status, b"")

    app.on_session = fail
    assert (await raw.send("DELETE", f"{node.url}/mcp", session=session)).status == status
    assert (await store.load_session(session) is not None) is remains


async def test_a_close_that_raises_removes_the_record(
    node: RunningNode, app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    session = await raw.open(node.url)

    async def crash(scope: Scope, body: bytes, send: Send) -> None:
        raise RuntimeError("the app's own bug")

    app.on_session = crash
    assert (await raw.send("DELETE", f"{node.url}/mcp", session=session)).status == 500
    assert await store.load_session(session) is None


async def test_other_paths_pass_untouched(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    for path in ("/", "/mcpfoo", "/api/mcp"):
        await raw.send("POST", f"{node.url}{path}", session="anything at all", body=b"x")
        scope = app.scopes[-1]
        assert scope["path"] == path
        assert (b"mcp-session-id", b"anything at all") in scope["headers"]
    assert node.mooring._node.tally.served == 0


async def test_a_modern_request_is_served_where_it_lands_and_its_session_id_is_nobodys_business(
    node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    modern = {"mcp-protocol-version": "2026-07-28"}
    for session in ("zzzzz.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAA", await raw.open(node.url), "inner-1"):
        for method in ("POST", "GET", "DELETE"):
            reply = await raw.send(method, f"{node.url}/mcp", session=session, body=b"{}", headers=modern)
            assert (reply.status, reply.json) == (400, {"error": "initialize first"})
            assert app.asked[-1][:2] == (method, None)
    assert app.sessions == {"inner-1"}


async def test_another_principal_is_answered_as_if_there_were_no_session(
    node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    app.user = by_header
    session = await raw.open(node.url, headers={"authorization": "alice"})
    assert (await raw.call(node.url, session, headers={"authorization": "alice"})).status == 200
    asked = len(app.asked)
    stolen = await raw.call(node.url, session, headers={"authorization": "mallory"})
    assert len(app.asked) == asked
    assert app.disconnected == 1
    retired = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
    unknown = await raw.call(node.url, retired, headers={"authorization": "mallory"})
    assert (stolen.status, stolen.json) == (unknown.status, unknown.json) == (404, unknown.json)
    assert stolen.headers.keys() == unknown.headers.keys()
    assert stolen.reason == "unknown"
    assert node.mooring._node.tally.refused["principal"] == 1


async def test_nobody_is_another_principal_too(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    app.user = by_header
    session = await raw.open(node.url, headers={"authorization": "alice"})
    reply = await raw.call(node.url, session)
    assert (reply.status, reply.reason) == (404, "unknown")


async def test_a_refreshed_token_is_the_same_principal(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    app.user = lambda scope: user("alice")
    session = await raw.open(node.url, headers={"authorization": "token-1"})
    assert (await raw.call(node.url, session, headers={"authorization": "token-2"})).status == 200


async def test_a_401_stays_a_401(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    app.user = by_header
    session = await raw.open(node.url, headers={"authorization": "alice"})

    async def unauthorized(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 401, b"{}")

    app.user = None
    app.gate = unauthorized
    assert (await raw.call(node.url, session)).status == 401


async def test_health_and_readiness(node: RunningNode, raw: RawClient) -> None:
    assert (await raw.send("GET", f"{node.url}/healthz")).status == 200
    ready = await raw.send("GET", f"{node.url}/readyz")
    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (await raw.send("HEAD", f"{node.url}/readyz")).body == b""


async def test_a_full_node_says_so_and_serves_on(app: ScriptedApp, store: MemoryStore, raw: RawClient) -> None:
    async with running_node(app, store, capacity=1) as node:
        session = await raw.open(node.url)
        ready = await raw.send("GET", f"{node.url}/readyz")
        assert (ready.status, ready.body) == (503, b"full: 1 sessions, capacity 1\n")
        assert (await raw.call(node.url, session)).status == 200
        await raw.open(node.url)


async def test_sessions_are_spread_over_the_nodes_shards(node: RunningNode, raw: RawClient) -> None:
    ids = SessionIds(SECRET)
    shards = [ids.shard_of(await raw.open(node.url)) for _ in range(8)]
    assert sorted(shards) == sorted(node.mooring._node.membership.shards)  # type: ignore[type-var]


async def test_a_renewed_record_says_when_the_session_was_last_seen(
    app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    async with running_node(app, store, touch_seconds=0.0) as node:
        session = await raw.open(node.url)
        opened = await store.load_session(session)
        await raw.call(node.url, session)

        async def renewed() -> bool:
            record = await store.load_session(session)
            return record is not None and opened is not None and record.last_seen > opened.last_seen

        await until(renewed, what="the record to be renewed")
