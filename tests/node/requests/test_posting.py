"""What is posted to HTTP+SSE sessions: by whom, through which node, and when the session is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl

from mooring.asgi import App, Receive, Scope, Send
from mooring.core.ids import SessionIds
from mooring.node.current_call import use_now
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.clusters import Cluster
from tests.node.http_sse_streams import StreamApp, streaming
from tests.node.rpc import INITIALIZE, RawClient
from tests.node.sdk_apps import Tokens
from tests.waiting import until

PING = {"jsonrpc": "2.0", "id": "p", "method": "ping"}
ALICE = {"x-user": "alice"}
MALLORY = {"x-user": "mallory"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield http


@pytest.fixture
def apps() -> list[StreamApp]:
    return []


@pytest.fixture
async def nodes(apps: list[StreamApp]) -> AsyncIterator[list[RunningNode]]:
    def make_app() -> StreamApp:
        apps.append(StreamApp())
        return apps[-1]

    async with running_nodes(make_app) as nodes:
        yield nodes


async def test_the_app_gets_its_own_id_back_through_any_node(
    http: aiohttp.ClientSession, nodes: list[RunningNode], apps: list[StreamApp]
) -> None:
    async with streaming(http, nodes[0].url) as client:
        for n, node in enumerate(nodes):
            assert await client.call(node.url, "ping", {}) == {"posted": n + 1}
    assert apps[0].queries == [b"sessionId=inner-0"] * 3
    assert [app.posted for app in apps[1:]] == [[], []]


async def test_only_its_principal_may_post(
    http: aiohttp.ClientSession, nodes: list[RunningNode], apps: list[StreamApp]
) -> None:
    async with streaming(http, nodes[0].url, headers=ALICE) as client:
        for node in nodes[:2]:
            for others in (MALLORY, None):
                status, body = await client.post(node.url, PING, others)
                assert status == 404
                assert '"unknown"' in body
        assert apps[0].posted == []
        assert b"inner" not in b"".join(apps[0].queries)
        assert await client.call(nodes[1].url, "ping", {}, headers=ALICE) == {"posted": 1}


async def test_no_header_of_the_modern_era_leads_past_that(http: aiohttp.ClientSession) -> None:
    apps: list[StreamApp] = []

    def make_app() -> StreamApp:
        apps.append(StreamApp())
        return apps[-1]

    async with (
        running_nodes(make_app, 2, MemoryStore(), mcp_path=("/sse", "/messages")) as nodes,
        streaming(http, nodes[0].url, headers=ALICE) as client,
    ):
        for node in nodes:
            status, _ = await client.post(node.url, PING, MALLORY | {"mcp-protocol-version": "2026-07-28"})
            assert status == 404
        assert [app.posted for app in apps] == [[], []]
        for n, node in enumerate(nodes):
            headers = ALICE | {"mcp-protocol-version": "2026-07-28"}
            assert await client.call(node.url, "ping", {}, headers=headers) == {"posted": n + 1}


async def test_who_signs_in_takes_over_a_stream_that_nobody_signed_in_for(
    http: aiohttp.ClientSession, nodes: list[RunningNode], apps: list[StreamApp]
) -> None:
    async with streaming(http, nodes[0].url) as client:
        assert await client.call(nodes[1].url, "ping", {}, headers=ALICE) == {"posted": 1}
        assert (await client.post(nodes[2].url, PING, MALLORY))[0] == 404
        assert len(apps[0].posted) == 1


def _protected_app() -> App:
    url = AnyHttpUrl("http://127.0.0.1/sse")
    auth = AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False)
    return MCPServer("test", token_verifier=Tokens(), auth=auth).sse_app()


async def test_a_refreshed_token_is_the_same_principals_and_anothers_is_not(http: aiohttp.ClientSession) -> None:
    async with (
        running_nodes(_protected_app) as nodes,
        streaming(http, nodes[0].url, headers={"authorization": "Bearer alice-1"}) as client,
    ):
        for node in nodes:
            await client.initialize(node.url, headers={"authorization": "Bearer alice-2"})
            assert (await client.post(node.url, PING, {"authorization": "Bearer mallory"}))[0] == 404
            assert (await client.post(node.url, PING))[0] == 401


async def test_an_id_that_is_not_ours_is_the_apps(
    http: aiohttp.ClientSession, nodes: list[RunningNode], apps: list[StreamApp]
) -> None:
    forged = SessionIds("another secret, of another cluster").mint("abcde", b"0" * 16)
    for session_id in ("inner-9", forged):
        async with http.post(f"{nodes[0].url}/messages?sessionId={session_id}", json=PING) as answer:
            assert (answer.status, await answer.text()) == (404, "the app knows no such session")
    assert apps[0].queries == [b"sessionId=inner-9", f"sessionId={forged}".encode()]


async def test_the_session_of_a_dead_node_is_gone(http: aiohttp.ClientSession, nodes: list[RunningNode]) -> None:
    async with streaming(http, nodes[0].url) as client:
        await nodes[0].vanish()

        async def is_gone() -> bool:
            return (await client.post(nodes[1].url, PING))[0] == 404

        await until(is_gone, what="the node's lease to end")


async def test_a_silent_node_is_answered_as_a_failure_since_the_client_reads_no_error(
    http: aiohttp.ClientSession, apps: list[StreamApp]
) -> None:
    async with (
        running_nodes(StreamApp, 2, MemoryStore(), hold_seconds=0.2, lease_seconds=60.0) as nodes,
        streaming(http, nodes[0].url) as client,
    ):
        await nodes[0].vanish()
        status, body = await client.post(nodes[1].url, PING)
        assert status == 503
        assert '"unreachable"' in body


async def test_what_is_posted_has_no_state_to_change_that_no_answer_would_wait_for(
    http: aiohttp.ClientSession, nodes: list[RunningNode], apps: list[StreamApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    take = StreamApp._take

    async def look_and_take(app: StreamApp, scope: Scope, receive: Receive, send: Send) -> None:
        asked.extend([use_now(), scope.get("mooring.state")])
        await take(app, scope, receive, send)

    monkeypatch.setattr(StreamApp, "_take", look_and_take)
    async with streaming(http, nodes[0].url) as client:
        await client.call(nodes[0].url, "ping", {})
    assert asked == [None, None]


async def test_the_id_of_a_stream_in_a_header_is_no_session_of_an_endpoint(
    http: aiohttp.ClientSession, nodes: list[RunningNode], apps: list[StreamApp]
) -> None:
    async with streaming(http, nodes[0].url) as client:
        headers = {"mcp-session-id": client.session_id}
        async with http.post(f"{nodes[1].url}/mcp", json=PING, headers=headers) as answer:
            assert answer.status == 404
    assert apps[0].posted == []


async def test_the_id_of_another_session_in_a_query_is_the_apps_to_read(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    for node in cluster.nodes:
        reply = await raw.send("POST", f"{node.url}/mcp?session_id={session}", body=INITIALIZE)
        assert reply.status == 200
        assert reply.session_id != session
        assert (await raw.send("POST", f"{node.url}/upload?session_id={session}", body=PING)).json == {"other": True}
    assert {scope["query_string"] for scope in cluster.apps[0].scopes[1:]} == {f"session_id={session}".encode()}
