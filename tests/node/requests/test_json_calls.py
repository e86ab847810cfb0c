"""A call that is answered in JSON has one outcome when its node dies: whoever sends it again is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastmcp import Context as FastMCPContext
from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer

from mooring.asgi import HeaderList, Scope, Send
from mooring.core.reconnects import Reconnects
from mooring.core.request import RequestFacts
from mooring.core.routing import Decision
from mooring.core.sse import SseEvent, encode
from mooring.core.stream_ids import StreamFacts, StreamKind
from mooring.errors import StoreUnavailable
from mooring.node.moving.handing_over import HandOver
from mooring.node.requests import following, json_calls
from mooring.node.requests.deciding import Decisions
from mooring.settings import survival_settings
from mooring.store import MemoryStore, Store
from mooring.store.journal import SettledCall
from tests.cluster_in_process import RunningNode, running_nodes
from tests.e2e.load import VERSION
from tests.node.apps import ScriptedApp, answer
from tests.node.rpc import RawClient, Reply
from tests.node.sdk_apps import Workshop, protected_app
from tests.waiting import until

CALL = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "work"}}
BATCH = [CALL, {"jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": {"name": "work"}}]


class Worker:
    """Answers calls when it is told to, in JSON, with who it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.app = ScriptedApp()
        self.app.on_session = self._on_session
        self.hints: dict[str, bool] = {}
        self.size = 0
        self.status = 200
        self.called = 0
        self.finish = asyncio.Event()

    async def _on_session(self, scope: Scope, body: bytes, send: Send) -> None:
        message = json.loads(body)
        session_id = self.app.asked[-1][1]
        first = message[0] if isinstance(message, list) else message
        if first.get("method") == "tools/list":
            result: Any = {"tools": [{"name": "work", "annotations": self.hints}]}
        elif first.get("method") == "tools/call":
            self.called += 1
            await self.finish.wait()
            result = self.name + "." * self.size
        else:
            await answer(send, 202, b"", session_id)
            return
        said = (
            [{"jsonrpc": "2.0", "id": one["id"], "result": result} for one in message]
            if first is not message
            else {
                "jsonrpc": "2.0",
                "id": first["id"],
                "result": result,
            }
        )
        await answer(send, self.status, json.dumps(said).encode(), session_id)


class Cluster:
    def __init__(self, nodes: list[RunningNode], workers: list[Worker], store: Store, raw: RawClient) -> None:
        self.nodes = nodes
        self.workers = workers
        self.store = store
        self.raw = raw
        self.session = ""

    async def send(self, at: int, body: Any = CALL) -> Reply:
        return await self.raw.call(self.nodes[at].url, self.session, body=body)

    async def begin(self, at: int = 0, body: Any = CALL) -> asyncio.Task[Reply]:
        """Send it, and wait until it is on record."""
        call = asyncio.create_task(self.send(at, body))
        await self.until_on_record(lambda calls: len(calls) == 1)
        return call

    async def until_on_record(self, holds: Any) -> None:
        async def does() -> bool:
            return bool(holds(await self.store.journal.calls(self.session)))

        await until(does, what="the record")

    async def is_dead(self) -> bool:
        return (await self.store.snapshot()).leases[self.nodes[0].id].until_ms == 0

    async def kill(self) -> None:
        await self.nodes[0].vanish()
        await self.store.bury(self.nodes[0].id)


@contextlib.asynccontextmanager
async def some_cluster(raw: RawClient, store: Store | None = None, **settings: Any) -> AsyncIterator[Cluster]:
    workers: list[Worker] = []

    def make_app() -> ScriptedApp:
        workers.append(Worker(f"worker-{len(workers)}"))
        return workers[-1].app

    store = store or MemoryStore()
    async with running_nodes(make_app, 3, store, **settings) as nodes:
        made = Cluster(nodes, workers, store, raw)
        made.session = await raw.open(nodes[0].url)
        yield made
        for worker in workers:
            worker.finish.set()


@pytest.fixture
async def cluster(raw: RawClient) -> AsyncIterator[Cluster]:
    async with some_cluster(raw) as made:
        yield made


async def lost(call: asyncio.Task[Reply]) -> None:
    with contextlib.suppress(Exception):
        await call
    assert call.done()


async def test_of_a_call_that_was_running_nobody_knows_however_often_it_is_sent_again(cluster: Cluster) -> None:
    call = await cluster.begin()
    await cluster.kill()
    await lost(call)
    replies = [await cluster.send(at) for at in (1, 2, 1)]
    assert {reply.reason for reply in replies} == {"outcome_unknown"}
    assert {reply.json["id"] for reply in replies} == {9}
    cluster.workers[0].finish.set()  # its node goes on, as one that was paused does, and is refused
    assert (await cluster.send(2)).reason == "outcome_unknown"
    assert [worker.called for worker in cluster.workers] == [1, 0, 0]
    assert sum(node.mooring._node.tally.outcomes["unknown"] for node in cluster.nodes) == 1


async def test_an_answer_that_did_not_arrive_is_given_to_whoever_sends_the_call_again(cluster: Cluster) -> None:
    call = await cluster.begin()
    call.cancel()
    await asyncio.wait({call})
    cluster.workers[0].finish.set()
    await cluster.until_on_record(lambda calls: isinstance(calls[0], SettledCall))
    await cluster.kill()
    for at in (1, 2):
        assert (await cluster.send(at)).json == {"jsonrpc": "2.0", "id": 9, "result": "worker-0"}
    assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def answered_to_nobody(cluster: Cluster) -> None:
    """The client leaves, the first node's app answers, and that node dies once it is on record."""
    call = await cluster.begin()
    call.cancel()
    await asyncio.wait({call})
    cluster.workers[0].finish.set()
    await cluster.until_on_record(lambda calls: not calls or isinstance(calls[0], SettledCall))
    await cluster.kill()


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")],
        [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")],
        [(b"content-type", b"text/event-stream"), (b"content-length", b"%d")],
    ],
    ids=["json", "stream", "stream with a length"],
)
async def test_one_that_cannot_be_read_is_said_to_be_lost_and_its_call_is_not_carried_out_again(
    cluster: Cluster, headers: HeaderList
) -> None:
    """As where the app compresses what it answers."""
    worker = cluster.workers[0]

    async def compress(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "DELETE":  # by its node, which finds out that it is fenced
            await answer(send, 200, b"")
            return
        worker.called += 1
        await worker.finish.wait()
        said = json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": "done"})
        shown = encode(SseEvent(said, "message")) if headers[0][1] == b"text/event-stream" else said.encode()
        whole = shown if headers[1][0] == b"content-length" else gzip.compress(shown)
        given = [(name, value % len(whole) if b"%" in value else value) for name, value in headers]
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": whole, "more_body": False})

    worker.app.on_session = compress
    for other in cluster.workers[1:]:
        other.finish.set()
    await answered_to_nobody(cluster)
    for at in (1, 2):
        assert (await cluster.send(at)).reason == "answer_lost"
    assert [each.called for each in cluster.workers] == [1, 0, 0]


async def test_one_whose_app_says_that_it_is_not_compressed_is_kept_in_whichever_words(cluster: Cluster) -> None:
    worker = cluster.workers[0]

    async def say_none(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] == "DELETE":  # by its node, which finds out that it is fenced
            await answer(send, 200, b"")
            return
        await worker.finish.wait()
        said = json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": "done"}).encode()
        given = [(b"content-type", b"application/json"), (b"content-encoding", b"none")]
        await send({"type": "http.response.start", "status": 200, "headers": given})
        await send({"type": "http.response.body", "body": said, "more_body": False})

    worker.app.on_session = say_none
    await answered_to_nobody(cluster)
    assert (await cluster.send(1)).json["result"] == "done"


async def test_another_request_is_none_that_was_sent_again(cluster: Cluster) -> None:
    call = await cluster.begin()
    await cluster.kill()
    await lost(call)
    for worker in cluster.workers:
        worker.finish.set()
    for other in ({**CALL, "id": 10}, {**CALL, "params": {"name": "work", "arguments": {}}}):
        assert (await cluster.send(1, other)).json["result"].startswith("worker-")


@pytest.mark.parametrize("hint", ["readOnlyHint", "idempotentHint"])
async def test_what_changes_nothing_is_carried_out_again(cluster: Cluster, hint: str) -> None:
    call = await cluster.begin()
    await cluster.kill()
    await lost(call)
    for worker in cluster.workers[1:]:
        worker.hints = {hint: True}
        worker.finish.set()
    assert (await cluster.send(1)).json["result"] in ("worker-1", "worker-2")
    assert sum(worker.called for worker in cluster.workers[1:]) == 1


@pytest.mark.parametrize("adopts", [True, False], ids=["adopts", "passes it on"])
@pytest.mark.parametrize("hints", [{}, {"readOnlyHint": True}])
async def test_a_call_that_came_by_another_node_has_its_outcome_without_being_sent_again(
    cluster: Cluster, hints: dict[str, bool], adopts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leaves_it_to_others(*_: Any) -> None:
        raise StoreUnavailable("away")

    if not adopts:
        monkeypatch.setattr(cluster.nodes[1].mooring._node.keeper.adoption, "adopt", leaves_it_to_others)
    for worker in cluster.workers[1:]:
        worker.hints = hints
        worker.finish.set()
    call = await cluster.begin(at=1)
    await cluster.kill()
    if not adopts:
        await cluster.send(2, {"jsonrpc": "2.0", "id": 5, "method": "ping"})
    reply = await call
    assert reply.status == 200
    assert reply.json["id"] == 9
    if hints:
        assert reply.json["result"] in ("worker-1", "worker-2")
    else:
        assert reply.reason == "outcome_unknown"
    assert sum(worker.called for worker in cluster.workers[1:]) == len(hints)


@pytest.mark.parametrize("hints", [{}, {"readOnlyHint": True}])
async def test_how_long_it_ran_is_no_part_of_how_long_it_may_be_held(raw: RawClient, hints: dict[str, bool]) -> None:
    async with some_cluster(raw, hold_seconds=2.0) as cluster:
        for worker in cluster.workers[1:]:
            worker.hints = hints
            worker.finish.set()
        since = time.monotonic()
        call = await cluster.begin(at=1)

        async def is_past() -> bool:
            return time.monotonic() > since + 2.0

        await until(is_past, what="as long as a request may be held")
        await cluster.kill()
        reply = await call
        assert reply.json.get("result") in ("worker-1", "worker-2") if hints else reply.reason == "outcome_unknown"


async def test_a_session_that_moves_while_the_record_is_looked_up_is_followed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new owner has revived it for another request, and gives it away at this moment."""
    for worker in cluster.workers[1:]:
        worker.hints = {"readOnlyHint": True}
        worker.finish.set()
    node, pings = cluster.nodes[1].mooring._node, list[Reply]()
    decide_anew, is_on_record = Decisions.decide_anew, json_calls.is_on_record

    async def revive_first(decisions: Decisions, facts: RequestFacts) -> Decision:
        if decisions._node is node and not pings and await cluster.is_dead():
            monkeypatch.undo()
            monkeypatch.setattr(following, "is_on_record", give_it_away)
            pings.append(await cluster.send(1, {"jsonrpc": "2.0", "id": 5, "method": "ping"}))
        return await decide_anew(decisions, facts)

    async def give_it_away(*args: Any) -> bool:
        receiver, shard = cluster.nodes[2].mooring._node.describe(), cluster.session.partition(".")[0]
        assert await HandOver(node, Reconnects(0)).give(shard, receiver, 1.0)
        return await is_on_record(*args)

    monkeypatch.setattr(Decisions, "decide_anew", revive_first)
    call = await cluster.begin(at=1)
    await cluster.kill()
    assert (await call).json["result"] == "worker-2"
    assert [worker.called for worker in cluster.workers] == [1, 0, 1]
    assert len(pings) == 1


@pytest.mark.parametrize("at", [0, 1], ids=["is sent again", "came by another node"])
async def test_a_call_is_on_record_for_as_long_as_it_runs(
    raw: RawClient, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survival_settings, "_CALL_LOG_SECONDS", 1.0)
    async with some_cluster(raw, stream_log_seconds=1.0) as cluster:
        for worker in cluster.workers[1:]:
            worker.finish.set()
        call = await cluster.begin(at)
        await asyncio.sleep(1.5)
        await cluster.kill()
        if at:
            assert (await call).reason == "outcome_unknown"
        else:
            await lost(call)
        assert (await cluster.send(1)).reason == "outcome_unknown"
        assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def test_a_call_that_is_on_no_record_is_not_sent_on_to_a_new_owner(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in cluster.workers[1:]:
        worker.finish.set()
    monkeypatch.setattr(json_calls.JsonCall, "begin", lambda _: None)
    call = asyncio.create_task(cluster.send(1))

    async def works() -> bool:
        return cluster.workers[0].called == 1

    await until(works, what="the call to run")
    await cluster.kill()
    assert (await call).reason == "outcome_unknown"
    assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def test_each_request_of_a_batch_has_an_outcome(cluster: Cluster) -> None:
    call = await cluster.begin(at=1, body=BATCH)
    await cluster.kill()
    for reply in (await call, await cluster.send(2, BATCH)):
        assert [one["id"] for one in reply.json] == [9, "b"]
        assert {one["error"]["data"]["reason"] for one in reply.json} == {"outcome_unknown"}
    assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def test_a_large_answer_is_said_to_be_lost(cluster: Cluster) -> None:
    cluster.workers[0].size = 300_000
    call = await cluster.begin()
    cluster.workers[0].finish.set()
    assert len((await call).body) > 300_000
    await cluster.until_on_record(lambda calls: isinstance(calls[0], SettledCall))
    await cluster.kill()
    assert (await cluster.send(1)).reason == "answer_lost"
    assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def test_of_many_large_answers_the_latest_stay_on_record(cluster: Cluster) -> None:
    """A client could fill the store for minutes else, with calls alone."""
    cluster.workers[0].size = 200_000
    ids = range(100, 170)
    calls = [asyncio.create_task(cluster.send(0, {**CALL, "id": one})) for one in ids]
    await cluster.until_on_record(lambda known: len(known) == len(ids))
    cluster.workers[0].finish.set()
    assert {(await call).status for call in calls} == {200}

    def few_are_left(known: list[Any]) -> bool:
        kept = [call for call in known if isinstance(call, SettledCall)]
        return len(kept) == len(known) and 32 <= len(kept) <= 42

    await cluster.until_on_record(few_are_left)


async def test_a_refusal_is_no_answer_and_is_forgotten(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    call = await cluster.begin(body=CALL)
    monkeypatch.setattr(json_calls, "answers", lambda *_: False)
    cluster.workers[0].status = 403
    cluster.workers[0].finish.set()
    assert (await call).status == 403
    await cluster.until_on_record(lambda calls: not calls)


async def test_where_the_store_does_not_say_what_is_on_record_the_client_tries_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = await cluster.begin()
    await cluster.kill()
    await lost(call)

    async def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(type(cluster.store.journal), "calls", away)
        reply = await cluster.send(1)
        assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 9)
    assert (await cluster.send(1)).reason == "outcome_unknown"


async def test_a_quick_call_is_on_no_record(cluster: Cluster) -> None:
    cluster.workers[0].finish.set()
    for number in range(20):
        await cluster.send(0, {**CALL, "id": number})
    assert len(await cluster.store.journal.calls(cluster.session)) < 20


@pytest.mark.parametrize("servers", [(MCPServer, Context), (FastMCP, FastMCPContext)], ids=["v2", "fastmcp"])
async def test_an_sdks_own_app_does_not_see_what_is_answered_in_its_place(
    raw: RawClient, servers: tuple[Any, Any]
) -> None:
    workshops: list[Workshop] = []

    def make_app() -> Workshop:
        workshops.append(Workshop(*servers, json_response=True))
        return workshops[-1]

    store = MemoryStore()
    async with running_nodes(make_app, 2, store) as nodes:
        session = await raw.open(nodes[0].url)
        work = {**CALL, "params": {"name": "work", "arguments": {}}}

        async def send(at: int, message: Any = work) -> Reply:
            return await raw.call(nodes[at].url, session, body=message, headers=VERSION)

        async def is_noted() -> bool:
            return len(await store.journal.calls(session)) == 1

        call = asyncio.create_task(send(1))
        await until(is_noted, what="the record")
        await nodes[0].vanish()
        await store.bury(nodes[0].id)
        assert (await call).reason == (await send(1)).reason == "outcome_unknown"
        assert (workshops[0].ledger[0], workshops[1].ledger) == ("begins", [])
        workshops[1].finish.set()
        assert (await send(1, {**work, "id": 10})).json["result"]["content"][0]["text"] == "done"
        assert workshops[1].ledger == ["begins", "finished"]
        workshops[0].finish.set()


async def test_a_stranger_is_told_of_nobodys_call(raw: RawClient) -> None:
    store = MemoryStore()
    alice, mallory = ({"authorization": f"Bearer {token}"} | VERSION for token in ("alice-1", "mallory"))
    async with running_nodes(protected_app, 2, store) as nodes:
        session = await raw.open(nodes[0].url, headers=alice)
        body = json.dumps(CALL).encode()
        node = nodes[0].mooring._node
        name = node.streams.ids.mint(session, StreamFacts(StreamKind.CALL, 0, 9), hashlib.sha256(body).digest())
        local = node.sessions.find(session)
        assert local is not None
        await store.journal.settle(session, local.epoch, name, b'{"secret": true}', 60)
        await nodes[0].vanish()
        await store.bury(nodes[0].id)
        reply = await raw.call(nodes[1].url, session, body=body, headers=alice)
        assert reply.json == {"secret": True}
        reply = await raw.call(nodes[1].url, session, body=body, headers=mallory)
        assert (reply.status, reply.reason) == (404, "unknown")


async def test_so_is_a_call_of_a_session_whose_other_calls_were_answered_by_streams(cluster: Cluster) -> None:
    """As by a server that streams where a tool has something to say before its answer."""
    worker = cluster.workers[0]
    in_json = worker.app.on_session

    async def stream(scope: Scope, body: bytes, send: Send) -> None:
        said = json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": "streamed"})
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": encode(SseEvent(said, "message")), "more_body": False})

    worker.app.on_session = stream
    assert (await cluster.send(0, {**CALL, "id": 8})).json["result"] == "streamed"
    worker.app.on_session = in_json
    call = await cluster.begin()
    await cluster.kill()
    await lost(call)
    assert (await cluster.send(1)).reason == "outcome_unknown"
    assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def test_what_is_answered_by_a_stream_after_all_is_left_to_its_stream(cluster: Cluster) -> None:
    worker = cluster.workers[0]

    async def stream(scope: Scope, body: bytes, send: Send) -> None:
        await worker.finish.wait()
        said = json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": "streamed"})
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": encode(SseEvent(said, "message")), "more_body": False})

    worker.app.on_session = stream
    call = await cluster.begin()
    worker.finish.set()
    assert (await call).json["result"] == "streamed"
    await cluster.until_on_record(lambda calls: not calls)
    session = cluster.nodes[0].mooring._node.sessions.find(cluster.session)
    assert session is not None
    assert session.answers_in_streams
