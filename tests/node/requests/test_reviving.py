"""Sessions go on under the same id on another node, for the same principal alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.message import ServerMessageMetadata
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult
from starlette.middleware.gzip import GZipMiddleware

from mooring import RevivedSession
from mooring.asgi import App, Message, Receive, Scope, Send, media_type, request_header
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.apps import ScriptedApp, answer, initialize_result
from tests.node.clusters import Cluster
from tests.node.rpc import INITIALIZE, RawClient
from tests.node.sdk_apps import protected_app, sdk_app
from tests.node.state_nodes import sdk_app as state_app
from tests.node.tellers import Reader, answer_in, call, reading
from tests.waiting import until

ASKABLE = {**INITIALIZE, "params": {**INITIALIZE["params"], "capabilities": {"elicitation": {"form": {}}}}}  # type: ignore[dict-item]
WHOAMI = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}


def text_of(reply_json: object) -> str:
    return str(reply_json["result"]["content"][0]["text"])  # type: ignore[index]


async def test_a_session_goes_on_under_its_id_when_its_node_dies(raw: RawClient) -> None:
    async with running_nodes(sdk_app, 3, MemoryStore()) as nodes:
        session = await raw.open(nodes[0].url)
        await nodes[0].vanish()
        reply = await raw.call(nodes[1].url, session, body=WHOAMI)
        assert reply.status == 200
        assert text_of(reply.json) == session
        assert text_of((await raw.call(nodes[2].url, session, body=WHOAMI)).json) == session
        assert sum(node.mooring._node.tally.revived for node in nodes) == 1


async def test_an_app_that_compresses_what_it_says_is_understood(raw: RawClient) -> None:
    def app() -> App:
        server = MCPServer("compresses", instructions="read this first; " * 100)
        return GZipMiddleware(server.streamable_http_app(json_response=True), minimum_size=100)

    zipped = {"accept-encoding": "gzip"}
    async with running_nodes(app, 2, MemoryStore()) as nodes:
        session = await raw.open(nodes[0].url, headers=zipped)
        await nodes[0].vanish()
        reply = await raw.call(nodes[1].url, session, headers=zipped)
        assert (reply.status, reply.session_id) == (200, session)
        assert sum(node.mooring._node.tally.revived for node in nodes) == 1


async def test_an_apps_own_ids_are_mapped_anew(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].vanish()
    reply = await raw.call(cluster.nodes[1].url, session)
    assert (reply.status, reply.session_id) == (200, session)
    methods = [json.loads(body or b"{}").get("method") for _, _, body in cluster.apps[1].asked]
    assert methods == ["initialize", "notifications/initialized", "ping"]
    assert json.loads(cluster.apps[1].asked[0][2]) == INITIALIZE


async def test_many_who_wait_see_one_revival(raw: RawClient) -> None:
    async with running_nodes(sdk_app, 3, MemoryStore()) as nodes:
        session = await raw.open(nodes[0].url)
        await nodes[0].vanish()
        calls = [{**WHOAMI, "id": n} for n in range(20)]
        replies = await asyncio.gather(
            *(raw.call(nodes[1 + n % 2].url, session, body=call) for n, call in enumerate(calls))
        )
        assert {text_of(reply.json) for reply in replies} == {session}
        assert [reply.json["id"] for reply in replies] == list(range(20))
        assert sum(node.mooring._node.tally.revived for node in nodes) == 1


async def test_only_its_principal_wakes_it(raw: RawClient) -> None:
    async with running_nodes(protected_app, 2, MemoryStore()) as nodes:
        alice = {"authorization": "Bearer alice-1"}
        session = await raw.open(nodes[0].url, headers=alice)
        await nodes[0].vanish()
        url = nodes[1].url
        assert (await raw.call(url, session)).status == 401
        reply = await raw.call(url, session, headers={"authorization": "Bearer mallory"})
        assert (reply.status, reply.reason) == (404, "unknown")
        assert nodes[1].mooring._node.tally.revived == 0
        reply = await raw.call(url, session, body=WHOAMI, headers={"authorization": "Bearer alice-2"})
        assert text_of(reply.json) == session
        reply = await raw.call(url, session, headers={"authorization": "Bearer mallory"})
        assert (reply.status, reply.reason) == (404, "unknown")


async def test_a_session_that_the_app_ended_by_itself_is_revived_on_the_same_node(raw: RawClient) -> None:
    async with running_nodes(lambda: sdk_app(idle_seconds=0.05), 1, MemoryStore()) as nodes:
        revived: list[RevivedSession] = []
        nodes[0].mooring.on_revive(revived.append)
        session = await raw.open(nodes[0].url)

        async def is_let_go() -> bool:
            return len(nodes[0].mooring._node.sessions) == 0

        for incarnation in range(1, 4):
            await until(is_let_go, what="the app to end the session")
            assert text_of((await raw.call(nodes[0].url, session, body=WHOAMI)).json) == session
            assert [one.incarnation for one in revived] == list(range(1, incarnation + 1))
        assert {one.last_node for one in revived} == {nodes[0].id}


async def test_a_server_that_must_not_be_revived_says_so(raw: RawClient) -> None:
    async with running_nodes(sdk_app, 2, MemoryStore(), on_node_loss="reinitialize") as nodes:
        session = await raw.open(nodes[0].url)
        await nodes[0].vanish()
        reply = await raw.call(nodes[1].url, session)
        assert (reply.status, reply.reason) == (404, "owner_lost")


async def test_all_nodes_die_and_their_clients_go_on_with_new_ones(raw: RawClient) -> None:
    store = MemoryStore()
    async with running_nodes(sdk_app, 2, store) as nodes:
        session = await raw.open(nodes[0].url)
        for node in nodes:
            await node.vanish()
    store._leases.clear()
    store._shards.clear()
    async with running_nodes(sdk_app, 2, store) as nodes:
        assert text_of((await raw.call(nodes[1].url, session, body=WHOAMI)).json) == session


# Of another release.


class Release(ScriptedApp):
    """Speaks these revisions, and agrees on its latest one with whoever asks for another."""

    def __init__(self, *revisions: str) -> None:
        super().__init__()
        self._revisions = revisions

    async def _open(self, body: bytes, send: Send) -> None:
        asked = json.loads(body)
        version = asked["params"]["protocolVersion"]
        self.sessions.add(name := f"inner-{len(self.asked)}")
        agreed = version if version in self._revisions else self._revisions[-1]
        await answer(send, 200, initialize_result(asked["id"], agreed), name)


@contextlib.asynccontextmanager
async def releases(*apps: Release) -> AsyncIterator[list[RunningNode]]:
    """A node of each."""
    made = iter(apps)
    async with running_nodes(lambda: next(made), len(apps), MemoryStore()) as nodes:
        yield nodes


async def test_the_next_release_speaks_the_revision_that_was_agreed_on_with_the_last_one(raw: RawClient) -> None:
    newer = Release("2025-06-18", "2025-11-25")
    async with releases(Release("2025-06-18"), newer) as nodes:
        session = await raw.open(nodes[0].url)
        await nodes[0].vanish()
        assert (await raw.call(nodes[1].url, session)).status == 200
        replayed = json.loads(newer.asked[0][2])
        assert replayed["params"] == {**INITIALIZE["params"], "protocolVersion": "2025-06-18"}  # type: ignore[dict-item]
        local = nodes[1].mooring._node.sessions.find(session)
        assert local is not None
        assert (local.protocol, json.loads(local.initialize)) == ("2025-06-18", INITIALIZE)


async def test_a_client_opens_a_new_session_where_no_node_speaks_the_revision_of_its_last_one(raw: RawClient) -> None:
    """It names that revision in each request, and would be refused for it for as long as it has the session."""
    older = Release("2025-06-18")
    async with releases(Release("2025-11-25"), older) as nodes:
        session = await raw.open(nodes[0].url)
        await nodes[0].vanish()
        reply = await raw.call(nodes[1].url, session)
        assert (reply.status, reply.reason) == (404, "owner_lost")
        assert older.sessions == set()
        assert nodes[1].mooring._node.tally.revived == 0
        reply = await raw.call(nodes[1].url, session)
        assert (reply.status, reply.reason) == (404, "expired")


@pytest.mark.parametrize("compresses", [False, True])
@pytest.mark.parametrize("stream_logs", [True, False])
async def test_a_server_that_was_revived_is_answered_what_it_asks_whether_or_not_its_streams_are_kept(
    stream_logs: bool, compresses: bool, raw: RawClient
) -> None:
    def make_app() -> App:
        app = state_app()
        return Zipping(app) if compresses else app

    async with (
        running_nodes(make_app, 2, MemoryStore(), stream_logs=stream_logs) as nodes,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):
        opened = await raw.send("POST", f"{nodes[0].url}/mcp", body=ASKABLE)
        session, url = opened.session_id, nodes[1].url
        await nodes[0].vanish()
        async with reading(http, "POST", url, session, call("ask")) as reader:
            question = None
            while question is None:
                event = await reader.next()
                assert event is not None
                said = json.loads(event.data) if event.data else {}
                question = said.get("id") if said.get("method") == "elicitation/create" else None
            late = {"jsonrpc": "2.0", "id": "mooring:0:1", "result": {"action": "decline"}}
            name = {"jsonrpc": "2.0", "id": question, "result": {"action": "accept", "content": {"name": "Ada"}}}
            for one in (late, name):
                assert (await raw.call(url, session, body=one)).status == 202
            assert answer_in(await reader.rest())["result"]["content"][0]["text"] == "Ada"


async def test_progress_with_a_question_of_the_last_life_is_not_taken_for_progress_with_another(
    raw: RawClient,
) -> None:
    """SDKs take the question's id for the token of its progress, and count from the beginning in each life."""
    told: list[float] = []

    def make_app() -> App:
        server = MCPServer("asks")

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            told.append(progress)

        @server.tool()
        async def ask(ctx: Context[Any]) -> str:
            form = ElicitRequestFormParams(message="?", requested_schema={"type": "object", "properties": {}})
            asks, on = ElicitRequest(params=form), ServerMessageMetadata(related_request_id=ctx.request_id)
            said = await ctx.session.send_request(asks, ElicitResult, metadata=on, progress_callback=tell)
            return str(said.action)

        app: App = server.streamable_http_app()
        return app

    async def progress(token: Any, value: float) -> None:
        params = {"progressToken": token, "progress": value}
        said = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        assert (await raw.call(url, session, body=said)).status == 202

    async def asked(reader: Reader) -> Any:
        while (event := await reader.next()) is not None:
            said = json.loads(event.data) if event.data else {}
            if said.get("method") == "elicitation/create":
                return said
        raise AssertionError("nothing was asked")

    async with (
        running_nodes(make_app, 2, MemoryStore()) as nodes,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
    ):
        opened = await raw.send("POST", f"{nodes[0].url}/mcp", body=ASKABLE)
        session, url = opened.session_id, nodes[1].url
        async with reading(http, "POST", url, session, call("ask")) as reader:
            before = (await asked(reader))["params"]["_meta"]["progressToken"]
            await progress(before, 1)
            await nodes[0].vanish()
        async with reading(http, "POST", url, session, call("ask", 6)) as reader:
            question = await asked(reader)
            await progress(before, 2)
            await progress(question["params"]["_meta"]["progressToken"], 3)
            said = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}}
            assert (await raw.call(url, session, body=said)).status == 202
            assert answer_in(await reader.rest())["result"]["content"][0]["text"] == "decline"
    assert told == [1, 3]


class Zipping:
    """Compresses event streams, an event at a time."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepts = scope["type"] == "http" and b"gzip" in (request_header(scope["headers"], b"accept-encoding") or b"")
        zipper = zlib.compressobj(wbits=31)
        is_stream = False

        async def send_zipped(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.start":
                is_stream = accepts and media_type(message["headers"]) == b"text/event-stream"
                if is_stream:
                    message = {**message, "headers": [*message["headers"], (b"content-encoding", b"gzip")]}
            elif message["type"] == "http.response.body" and is_stream:
                piece = zipper.compress(message.get("body", b"")) + zipper.flush(
                    zlib.Z_SYNC_FLUSH if message.get("more_body") else zlib.Z_FINISH
                )
                message = {**message, "body": piece}
            await send(message)

        await self._app(scope, receive, send_zipped)
