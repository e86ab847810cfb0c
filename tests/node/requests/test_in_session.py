"""Sessions of an app whose ids are its own: mapped both ways, recorded, closed, and bound to their principal."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

from mooring import ClosedSession, RevivedSession
from mooring.asgi import Receive, Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import Written
from mooring.core.sse import SseEvent
from mooring.node.membership import inner_ids
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node, running_nodes
from tests.fakes import old_store
from tests.node.apps import ScriptedApp, answer
from tests.node.clusters import Cluster
from tests.node.direct import Request, initialize, joined
from tests.node.rpc import INITIALIZE, RawClient
from tests.node.sdk_apps import mounted, sdk_app
from tests.node.tellers import answer_in, reading, steps_in
from tests.node.tellers import call as tell
from tests.servers.event_store import MemoryEventStore
from tests.waiting import until


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


async def test_an_error_on_a_session_names_the_public_id(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    session = await raw.open(node.url)

    async def fail(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 406, b"{}", "inner-1")

    app.on_session = fail
    reply = await raw.call(node.url, session)
    assert (reply.status, reply.session_id) == (406, session)


async def test_a_session_the_app_dropped_is_closed_and_its_record_goes_where_it_must_not_be_revived(
    app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    closed: list[ClosedSession] = []
    async with running_node(app, store, on_node_loss="reinitialize") as node:
        node.mooring.on_close(closed.append)
        session = await raw.open(node.url)
        app.sessions.clear()
        assert (await raw.call(node.url, session)).status == 404
        assert await store.load_session(session) is None
        assert closed == [ClosedSession(session, "ended", "")]
        assert (await raw.call(node.url, session)).reason == "expired"


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_session_the_app_dropped_is_opened_again_for_the_request_that_finds_out(
    method: str, node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    told: list[ClosedSession | RevivedSession] = []
    node.mooring.on_close(told.append)
    node.mooring.on_revive(told.append)
    session = await raw.open(node.url)
    body = {"jsonrpc": "2.0", "id": 9, "method": "ping"} if method == "POST" else None
    app.sessions.clear()
    app.asked.clear()
    reply = await raw.send(method, f"{node.url}/mcp", session=session, body=body)
    assert (reply.status, reply.session_id) == (200, session)
    asked = [(how, json.loads(what or b"{}").get("method")) for how, _, what in app.asked]
    first = (method, body and body["method"])
    assert asked == [first, ("POST", "initialize"), ("POST", "notifications/initialized"), first]
    assert [type(one) for one in told] == [ClosedSession, RevivedSession]
    assert {one.id for one in told} == {session}


async def test_what_an_app_answers_404_in_a_session_that_was_just_opened_again_is_the_answer(
    node: RunningNode, app: ScriptedApp, store: MemoryStore, raw: RawClient
) -> None:
    session = await raw.open(node.url)

    async def has_no_such_thing(scope: Scope, body: bytes, send: Send) -> None:
        await answer(send, 404 if b"ping" in body else 200, b"", None)

    app.on_session = has_no_such_thing
    assert (await raw.call(node.url, session)).status == 404
    assert sum(b'"initialize"' in body for _, _, body in app.asked) == 2
    assert await store.load_session(session) is None


@pytest.mark.parametrize(("length", "first"), [(300_000, 200), (2_000_000, 404)])
async def test_a_request_too_large_to_send_again_gets_the_apps_answer_and_the_next_one_is_served(
    length: int, first: int, node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    call = {"jsonrpc": "2.0", "id": 9, "method": "ping", "params": {"_meta": {"x": "y" * length}}}
    app.sessions.clear()
    assert (await raw.call(node.url, session, body=call)).status == first
    assert (await raw.call(node.url, session, body=call)).json == {"served": len(app.asked)}
    assert json.loads(app.asked[-1][2]) == call


async def test_a_late_404_of_the_last_incarnation_leaves_the_next_one_alone(
    node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    waits, goes_on = asyncio.Event(), asyncio.Event()
    gone = {"inner-1"}

    async def drop_the_first(scope: Scope, body: bytes, send: Send) -> None:
        inner = next(value.decode() for name, value in scope["headers"] if name == b"mcp-session-id")
        if inner in gone and b"slow" in body:
            waits.set()
            await goes_on.wait()
        await answer(send, 404 if inner in gone else 200, b"{}", inner)

    app.on_session = drop_the_first
    slow = asyncio.create_task(raw.call(node.url, session, body={"jsonrpc": "2.0", "id": 8, "method": "slow"}))
    await waits.wait()
    assert (await raw.call(node.url, session)).status == 200
    incarnation = node.mooring._node.sessions.find(session)
    goes_on.set()
    assert (await slow).status == 200
    assert node.mooring._node.sessions.find(session) is incarnation
    assert node.mooring._node.tally.revived == 1


async def test_a_404_below_the_mcp_path_says_nothing_of_the_session(
    node: RunningNode, app: ScriptedApp, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    kept, app.sessions = app.sessions, set()
    assert (await raw.send("GET", f"{node.url}/mcp/files/none", session=session)).status == 404
    app.sessions = kept
    assert (await raw.call(node.url, session)).status == 200


async def test_a_delete_below_the_mcp_path_is_of_something_else(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    cluster.apps[0].on_session = found
    for node in cluster.nodes:
        assert (await raw.send("DELETE", f"{node.url}/mcp/files/7", session=session)).status == 200
    assert cluster.nodes[0].mooring._node.sessions.find(session) is not None
    assert await cluster.store.load_session(session) is not None
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200
    await cluster.nodes[0].vanish()
    cluster.apps[1].on_session = cluster.apps[2].on_session = found
    assert (await raw.send("DELETE", f"{cluster.nodes[1].url}/mcp/files/8", session=session)).status == 200
    assert (await raw.call(cluster.nodes[2].url, session)).status == 200


async def found(scope: Scope, body: bytes, send: Send) -> None:
    await answer(send, 200, b"{}")


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
        async def delete_session(self, session_id: str, epoch: int) -> Written:
            await stream_ended.wait()
            return await super().delete_session(session_id, epoch)

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


async def test_an_app_that_took_our_id_reads_and_writes_it_itself(raw: RawClient) -> None:
    """And a 404 of its own says nothing of the session: its end is heard where it happens."""
    inner = sdk_app()
    ids: list[bytes] = []
    is_gone = False

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            ids.extend(value for name, value in scope["headers"] if name == b"mcp-session-id")
        if is_gone:
            await answer(send, 404, b"{}", "said by the app")
        else:
            await inner(scope, receive, send)

    async with running_node(watched, MemoryStore()) as node:
        session = await raw.open(node.url)
        assert (await raw.call(node.url, session)).session_id == session
        assert ids == [session.encode()]
        is_gone = True
        reply = await raw.call(node.url, session)
        assert (reply.status, reply.session_id) == (404, "said by the app")
        assert await node.mooring.has_session(session)


async def test_a_call_that_crashes_in_the_app_leaves_its_session(app: ScriptedApp) -> None:
    async def crash(scope: Scope, body: bytes, send: Send) -> None:
        raise RuntimeError("the app's own bug")

    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id
        app.on_session = crash
        with pytest.raises(RuntimeError, match="the app's own bug"):
            await Request(session=session).to(mooring)
        app.on_session = None
        assert (await Request(session=session).to(mooring)).status == 200


async def test_anothers_delete_is_not_carried_out_and_ends_nothing(app: ScriptedApp, store: MemoryStore) -> None:
    async def crash(scope: Scope, body: bytes, send: Send) -> None:
        raise RuntimeError("the app's own bug")

    app.user = by_header
    async with joined(app, store) as mooring:
        session = (await initialize(headers=[(b"authorization", b"alice")]).to(mooring)).session_id
        app.on_session = crash
        reply = await Request("DELETE", session=session).to(mooring)
        assert (reply.status, reply.reason) == (404, "unknown")
        assert await store.load_session(session) is not None
        app.on_session = None
        owners = Request(session=session, headers=[(b"authorization", b"alice")])
        assert (await owners.to(mooring)).status == 200


async def test_an_app_that_reads_its_request_in_pieces_gets_them_all(app: ScriptedApp) -> None:
    async with joined(app) as mooring:
        session = (await initialize().to(mooring)).session_id
        await Request(session=session, pieces=[b"a", b"b", b"c"]).to(mooring)
    assert app.asked[-1] == ("POST", "inner-1", b"abc")


@pytest.mark.parametrize("status", [200, 202, 302, 404])
async def test_an_app_that_answers_before_it_reads_tells_another_principal_nothing(
    app: ScriptedApp, status: int
) -> None:
    """Who asks is known only when the answer starts: by then something may be done, but nothing is told."""
    streaming = False

    async def answering_at_once(scope: Scope, receive: Receive, send: Send) -> None:
        if not streaming:
            await app(scope, receive, send)
            return
        scope["user"] = by_header(scope)
        headers = [(b"x-secret", b"alice's")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"alice's", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    app.user = by_header
    async with joined(answering_at_once, await old_store()) as mooring:
        session = (await initialize(headers=[(b"authorization", b"alice")]).to(mooring)).session_id
        streaming = True
        stolen = await Request(session=session, headers=[(b"authorization", b"mallory")]).to(mooring)
        retired = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
        unknown = await Request(session=retired).to(mooring)
        assert stolen.sent == unknown.sent
        assert stolen.reason == "unknown"
        assert mooring._node.tally.refused["principal"] == 1
        own = await Request(session=session, headers=[(b"authorization", b"alice")]).to(mooring)
        if status == 404:  # it is taken for the session's end, and the app opens none anew
            assert (own.status, own.reason) == (404, "expired")
        else:
            assert (own.status, own.body) == (status, b"alice's")


# An app within an app: what we ask it beside a request goes to where that request came.

MOUNTED = "/api/mcp"
VERSION = {"mcp-protocol-version": "2025-11-25"}


def call_of(tool: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


async def open_mounted(raw: RawClient, node: RunningNode) -> str:
    return (await raw.send("POST", node.url + MOUNTED, body=INITIALIZE)).session_id


async def test_the_rest_of_an_answer_whose_stream_a_tool_closed_is_heard_below_a_mount(raw: RawClient) -> None:
    server, may_close, goes_on = MCPServer("closes"), asyncio.Event(), asyncio.Event()

    @server.tool()
    async def close(ctx: Context[Any]) -> str:
        await may_close.wait()
        await ctx.close_sse_stream()
        await goes_on.wait()
        return "all of it"

    app = mounted(server.streamable_http_app(event_store=MemoryEventStore()), "/api")
    async with running_node(app, MemoryStore()) as node, aiohttp.ClientSession() as http:
        session, below = await open_mounted(raw, node), f"{node.url}/api"
        async with reading(http, "POST", below, session, call_of("close")) as reader:
            await reader.next()
            may_close.set()
            assert await reader.rest() == []
        goes_on.set()
        async with reading(http, "GET", below, session, last=reader.ids[-1]) as again:
            assert answer_in(await again.rest())["result"]["content"][0]["text"] == "all of it"


async def test_an_answer_is_heard_though_its_tool_closes_the_stream_again_and_again(raw: RawClient) -> None:
    """Its client polls, then (specification 2025-11-25, Transports: Sending Messages to the Server)."""
    server, heard = MCPServer("closes"), asyncio.Event()

    @server.tool()
    async def close(ctx: Context[Any]) -> str:
        for step in range(5):
            await ctx.report_progress(step)
            await ctx.close_sse_stream()
            await heard.wait()
            heard.clear()
        return "all of it"

    app = server.streamable_http_app(event_store=MemoryEventStore(), retry_interval=10)
    async with running_node(app, MemoryStore()) as node, aiohttp.ClientSession() as http:
        session = (await raw.send("POST", f"{node.url}/mcp", body=INITIALIZE)).session_id
        told: list[SseEvent] = []
        last = None
        async with asyncio.timeout(20):
            while not any('"result"' in event.data or '"error"' in event.data for event in told):
                how = ("POST", tell("close")) if last is None else ("GET", None)
                async with reading(http, how[0], node.url, session, how[1], last=last) as reader:
                    while (event := await reader.next()) is not None:
                        told.append(event)
                        if "notifications/progress" in event.data:
                            heard.set()
                last = reader.ids[-1]
        assert steps_in(told) == [0, 1, 2, 3, 4]
        assert answer_in(told)["result"]["content"][0]["text"] == "all of it"


async def test_a_call_that_changes_nothing_is_carried_out_again_below_a_mount(raw: RawClient) -> None:
    begun, goes_on = list[MCPServer](), asyncio.Event()

    def make_app() -> Any:
        server = MCPServer("reads")

        @server.tool(annotations=ToolAnnotations(read_only_hint=True))
        async def read() -> str:
            begun.append(server)
            if len(begun) == 1:
                await goes_on.wait()
            return "read"

        return mounted(server.streamable_http_app(json_response=True), "/api")

    store = MemoryStore()
    async with running_nodes(make_app, 2, store) as nodes:
        session = await open_mounted(raw, nodes[0])

        async def ask(at: int) -> Any:
            url = nodes[at].url + MOUNTED
            return (await raw.send("POST", url, session=session, body=call_of("read"), headers=VERSION)).json

        async def is_on_record() -> bool:
            return bool(await store.journal.calls(session))

        asking = asyncio.create_task(ask(0))
        await until(is_on_record, what="the record")
        await nodes[0].vanish()
        await store.bury(nodes[0].id)
        with contextlib.suppress(aiohttp.ClientError):
            await asking
        assert (await ask(1))["result"]["content"][0]["text"] == "read"
        assert nodes[1].mooring._node.tally.outcomes == {"run again": 1}
        goes_on.set()


async def test_a_session_that_the_app_ends_at_this_moment_is_opened_again_below_a_mount(raw: RawClient) -> None:
    async with running_node(mounted(sdk_app(), "/api"), MemoryStore()) as node:
        session = await open_mounted(raw, node)
        local = node.mooring._node.sessions.find(session)
        assert local is not None
        local.is_told_to_end = True  # as of one that is idle
        await inner_ids.end(session)
        reply = await raw.send("POST", node.url + MOUNTED, session=session, body=call_of("whoami"), headers=VERSION)
        assert reply.json["result"]["content"][0]["text"] == session
