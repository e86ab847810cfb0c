"""Requests on their way to their owner: held, tried again, and never carried out twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from mooring import Mooring
from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.core.model import NodeInfo, NodeState, ShardOwner
from mooring.errors import PeerSilent
from mooring.node.links.peer_link import PassedRequest
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node, running_nodes
from tests.fakes import Clock, store_that_is_away
from tests.node.apps import ScriptedApp, answer
from tests.node.clusters import Cluster, three_nodes
from tests.node.direct import Request, initialize, joined
from tests.node.links.odd_peer import Head, OddPeer, odd_peer
from tests.node.moving.nodes import some_nodes
from tests.node.rpc import INITIALIZE, RawClient


async def test_an_owner_that_refuses_connections_is_dead_when_its_lease_is_over_and_not_before(
    cluster: Cluster, raw: RawClient
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    shard, before = session.partition(".")[0], (await cluster.store.snapshot()).shards or {}
    await cluster.nodes[0].vanish()
    lease = (await cluster.store.snapshot()).leases[cluster.nodes[0].id]
    reply = await raw.call(cluster.nodes[1].url, session)
    snapshot = await cluster.store.snapshot()
    assert (reply.status, reply.session_id) == (200, session)
    assert snapshot.now_ms >= lease.until_ms
    assert (snapshot.shards or {})[shard] == ShardOwner(cluster.nodes[1].id, before[shard].epoch + 1)
    record = await cluster.store.load_session(session)
    assert record is not None
    assert (record.node_id, record.incarnation) == (cluster.nodes[1].id, 1)
    assert (await raw.call(cluster.nodes[2].url, session)).status == 200
    assert cluster.tally(1).revived == 1
    anew = await raw.open(cluster.nodes[1].url)
    assert (await raw.call(cluster.nodes[2].url, anew)).status == 200


async def test_a_stranger_at_the_owners_address_is_no_evidence_of_its_death(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    owner, stranger = cluster.nodes[0].mooring._node, cluster.nodes[2].mooring._node
    owner._place._client_url = cluster.nodes[2].url.replace("127.0.0.1", "localhost")  # not seen to be the same
    await owner.keeper.beat()
    await cluster.nodes[1].mooring._node.keeper.beat()
    reply = await raw.call(cluster.nodes[1].url, session)
    assert (reply.status, reply.reason) == (200, "unreachable")
    assert stranger.tally.refused["signature"] >= 1
    assert await cluster.store.load_session(session) is not None
    assert (await raw.call(cluster.nodes[0].url, session)).status == 200


async def test_an_owner_that_does_not_answer_costs_neither_client_nor_session(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    owner, peer = cluster.nodes[0].mooring._node, cluster.nodes[1].mooring._node
    await owner.keeper.beat()
    await peer.keeper.beat()

    async def refuse_though_alive(*_: Any) -> None:
        raise PeerSilent("no connection in time", may_have_run=False)

    monkeypatch.setattr(peer.ways.link, "forward", refuse_though_alive)
    reply = await raw.call(cluster.nodes[1].url, session, body={"jsonrpc": "2.0", "id": 41, "method": "ping"})
    assert reply.status == 200
    assert reply.json["id"] == 41
    assert reply.reason == "unreachable"
    stream = await raw.send("GET", f"{cluster.nodes[1].url}/mcp", session=session)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
    assert stream.body.startswith(b"retry: ")
    monkeypatch.undo()
    await owner.keeper.beat()
    await peer.keeper.beat()
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200


Forward = Callable[[PassedRequest], Awaitable[None]]
Around = Callable[[Forward, PassedRequest], Awaitable[None]]


def interfere(
    node: RunningNode, monkeypatch: pytest.MonkeyPatch, around: Callable[[Forward, PassedRequest], Any]
) -> list[str]:
    """Let `around` have every forward of this node; returns the nonces under which requests went out."""
    nonces: list[str] = []
    forward = node.mooring._node.ways.link.forward

    async def watched(peer: NodeInfo, request: PassedRequest) -> None:
        nonces.append(request.nonce)
        await around(partial(forward, peer), request)

    monkeypatch.setattr(node.mooring._node.ways.link, "forward", watched)
    return nonces


async def test_only_so_many_are_held_and_the_others_are_told_to_try_again(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes(ScriptedApp, 2, held_requests=2, hold_seconds=20, lease_seconds=2) as nodes:
        session = await raw.open(nodes[0].url)
        peer = nodes[1].mooring._node
        await nodes[0].vanish()
        replies = await asyncio.gather(*(raw.call(nodes[1].url, session) for _ in range(5)))
        assert sorted(reply.status for reply in replies) == [200] * 5
        refused = [reply.reason for reply in replies if "error" in reply.json]
        assert refused == ["unreachable"] * 3
        assert peer.held == 0
        assert sum("2 requests are held" in line and "(held_requests)" in line for line in caplog.messages) == 1


async def test_a_request_is_held_until_its_owner_answers(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    silences = iter([True, True, False])

    async def silent_at_first(forward: Forward, request: PassedRequest) -> None:
        if next(silences):
            raise PeerSilent("connection refused", may_have_run=False)
        await forward(request)

    nonces = interfere(cluster.nodes[1], monkeypatch, silent_at_first)
    asked = len(cluster.apps[0].asked)
    assert (await raw.call(cluster.nodes[1].url, session)).json == {"served": asked + 1}
    assert len(cluster.apps[0].asked) == asked + 1
    assert len(set(nonces)) == 3


@pytest.mark.parametrize("may_have_run", [[False], [True, True]], ids=["was not read", "nobody knows"])
async def test_how_long_an_owner_hung_before_it_died_is_no_part_of_how_long_a_request_may_be_held(
    raw: RawClient, may_have_run: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with three_nodes(hold_seconds=1.0) as cluster:
        session = await raw.open(cluster.nodes[0].url)
        silences = [PeerSilent("silent", may_have_run=one) for one in may_have_run]

        async def hangs_and_dies(forward: Forward, request: PassedRequest) -> None:
            await request.receive()
            silence = silences.pop(0)
            if not silences:
                await asyncio.sleep(1.5)
                await cluster.nodes[0].vanish()
                await cluster.store.bury(cluster.nodes[0].id)
                await cluster.nodes[1].mooring._node.keeper.look()
            raise silence

        interfere(cluster.nodes[1], monkeypatch, hangs_and_dies)
        monkeypatch.setattr(cluster.nodes[2].mooring._node.keeper.adoption, "adopt_orphans", nothing)
        reply = await raw.call(cluster.nodes[1].url, session, body={"jsonrpc": "2.0", "id": 41, "method": "ping"})
        assert "error" not in reply.json
        assert cluster.tally(1).revived == 1


PING = {"jsonrpc": "2.0", "id": 41, "method": "ping"}
NOTE = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
WORK = {"jsonrpc": "2.0", "id": 42, "method": "tools/call", "params": {"name": "work"}}


@pytest.mark.parametrize(
    ("body", "is_harmless"),
    [(PING, True), (NOTE, True), (WORK, False), ([NOTE, NOTE], True), ([PING, NOTE], True), ([PING, WORK], False)],
)
async def test_what_does_no_harm_goes_on_to_the_next_owner_where_the_last_one_may_have_had_it(
    body: Any, is_harmless: bool, cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)

    async def takes_it_and_dies(forward: Forward, request: PassedRequest) -> None:
        await request.receive()
        await cluster.nodes[0].vanish()
        await cluster.store.bury(cluster.nodes[0].id)
        await cluster.nodes[1].mooring._node.keeper.look()
        raise PeerSilent("connection reset", may_have_run=True)

    interfere(cluster.nodes[1], monkeypatch, takes_it_and_dies)
    monkeypatch.setattr(cluster.nodes[2].mooring._node.keeper.adoption, "adopt_orphans", nothing)
    reply = await raw.call(cluster.nodes[1].url, session, body=body)
    went_on = [json.loads(asked) for _, _, asked in cluster.apps[1].asked if asked]
    assert (body in went_on) is is_harmless
    assert (b"outcome_unknown" in reply.body) is not is_harmless


async def nothing() -> None:
    """Adopt none."""


async def test_a_request_whose_answer_was_lost_is_never_carried_out_twice(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)

    async def lose_the_answer(forward: Forward, request: PassedRequest) -> None:
        async def drop(_: Message) -> None:
            pass

        await forward(replace(request, send=drop))
        raise PeerSilent("connection reset", may_have_run=True)

    nonces = interfere(cluster.nodes[1], monkeypatch, lose_the_answer)
    asked = len(cluster.apps[0].asked)
    reply = await raw.call(cluster.nodes[1].url, session, body={"jsonrpc": "2.0", "id": 5, "method": "tools/call"})
    assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 5)
    assert len(cluster.apps[0].asked) == asked + 1
    assert len(nonces) == 2
    assert len(set(nonces)) == 1
    assert await cluster.store.load_session(session) is not None


async def test_nor_is_one_that_ran_for_longer_than_its_owner_remembers_it(
    raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with three_nodes(peer_age_seconds=0.5, hold_seconds=2.0) as cluster:
        session = await raw.open(cluster.nodes[0].url)

        async def break_late(forward: Forward, request: PassedRequest) -> None:
            async def drop(_: Message) -> None:
                pass

            await forward(replace(request, send=drop))
            await asyncio.sleep(1.1)  # a connection that breaks after the call has run for so long
            raise PeerSilent("connection reset", may_have_run=True)

        interfere(cluster.nodes[1], monkeypatch, break_late)
        asked = len(cluster.apps[0].asked)
        reply = await raw.call(cluster.nodes[1].url, session, body={"jsonrpc": "2.0", "id": 5, "method": "tools/call"})
        assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 5)
        assert len(cluster.apps[0].asked) == asked + 1


async def test_a_request_that_never_arrived_though_nobody_can_say_so_is_carried_out_once(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    resets = iter([True, False])

    async def reset_at_first(forward: Forward, request: PassedRequest) -> None:
        if next(resets):
            raise PeerSilent("connection reset", may_have_run=True)
        await forward(request)

    interfere(cluster.nodes[1], monkeypatch, reset_at_first)
    asked = len(cluster.apps[0].asked)
    assert (await raw.call(cluster.nodes[1].url, session)).json == {"served": asked + 1}


async def test_a_node_that_is_not_the_owner_says_who_is(cluster: Cluster, raw: RawClient) -> None:
    """The first node's view is of before the shard moved, and its store is away: the peer's word is enough."""
    session = await raw.open(cluster.nodes[0].url)
    shard = session.partition(".")[0]
    for node in cluster.nodes:
        await node.mooring._node.keeper.beat()
    asking, wrong = cluster.nodes[1].mooring._node, cluster.nodes[2].mooring._node
    owner = asking.membership.view.shards[shard]
    outdated = ShardOwner(wrong.id, 0)
    object.__setattr__(asking.membership.view, "shards", {**asking.membership.view.shards, shard: outdated})
    asking.keeper._store = store_that_is_away()
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200
    assert asking.membership.view.shards[shard] == owner
    assert wrong.tally.refused["misrouted"] == 1


async def test_a_full_node_passes_new_sessions_on_with_their_body(raw: RawClient) -> None:
    apps = [ScriptedApp(), ScriptedApp()]
    waiting = list(apps)
    async with running_nodes(lambda: waiting.pop(0), 2, capacity=1) as nodes:
        first = await raw.open(nodes[0].url)
        second = await raw.open(nodes[0].url)
        assert [len(app.sessions) for app in apps] == [1, 1]
        assert json.loads(apps[1].asked[0][2]) == INITIALIZE
        for session in (first, second):
            for node in nodes:
                assert (await raw.call(node.url, session)).status == 200


async def test_a_new_session_opens_here_when_the_peer_with_room_has_died(raw: RawClient) -> None:
    apps = [ScriptedApp(), ScriptedApp()]
    waiting = list(apps)
    async with running_nodes(lambda: waiting.pop(0), 2, capacity=1) as nodes:
        await raw.open(nodes[0].url)
        await nodes[1].vanish()
        session = await raw.open(nodes[0].url)
        assert len(apps[0].sessions) == 2
        assert (await raw.call(nodes[0].url, session)).status == 200


async def test_a_new_session_opens_here_when_the_peer_with_room_is_silent(
    raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [ScriptedApp(), ScriptedApp()]
    waiting = list(apps)

    async def silent(*_: Any) -> None:
        raise PeerSilent("no connection in time", may_have_run=False)

    async with running_nodes(lambda: waiting.pop(0), 2, capacity=1) as nodes:
        await raw.open(nodes[0].url)
        monkeypatch.setattr(nodes[0].mooring._node.ways.link, "forward", silent)
        await raw.open(nodes[0].url)
        assert [len(app.sessions) for app in apps] == [2, 0]


async def test_what_the_first_node_alone_knows_of_who_asks_counts_for_nothing(cluster: Cluster, raw: RawClient) -> None:
    """The owner's own authentication is the authority: its app authenticates nobody, and nobody opened the session."""
    session = await raw.open(cluster.nodes[0].url)
    stranger = Request(session=session, pieces=[b"{}"], headers=[(b"content-length", b"2")])
    stranger.scope["user"] = SimpleNamespace(is_authenticated=True, identity="mallory")
    await stranger.to(cluster.nodes[1].mooring)
    assert stranger.status == 200
    assert len(cluster.apps[0].asked) == 2
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200


# The client leaves.

CALL = b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call"}'
LENGTH = [(b"content-length", b"%d" % len(CALL))]


@contextlib.asynccontextmanager
async def node_and_owner(app: ScriptedApp, store: MemoryStore, **settings: Any) -> AsyncIterator[Lost]:
    """A node that knows a session, whose shard is that of a peer which answers as a test likes."""
    async with odd_peer() as owner, joined(app, store, **settings) as mooring:
        node = mooring._node
        session = (await initialize().to(mooring)).session_id
        shard = node.ids.shard_of(session) or ""
        await store.register(replace(owner.info, secret_id=node.describe().secret_id), 600)
        await store.claim(shard, ShardOwner(owner.info.id, 2), expected_epoch=1)
        node.keeper._now = Clock(time.monotonic() + 1000)  # so that it asks the store
        yield mooring, owner, session


Lost = tuple[Mooring, OddPeer, str]


class Silent:
    """Answers nothing, or the beginning of a stream, and waits for the connection to end.

    Attributes:
        asked: set once it has read what it wants to see of the request.
        seen: what it got after the headers, once the connection has ended.
    """

    def __init__(self, beginning: bytes | None = None, reads: int = 0) -> None:
        self.asked = asyncio.Event()
        self.seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._beginning = beginning
        self._reads = reads

    async def __call__(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._beginning is not None:
            writer.write(head.signed() + b"content-type: text/event-stream\r\n\r\n" + self._beginning)
        body = await reader.readexactly(self._reads)
        self.asked.set()
        self.seen.set_result(body + await reader.read())


@pytest.mark.parametrize("beginning", [None, b"", b"data: 1\n\n"], ids=["nothing", "headers", "an event"])
async def test_a_client_that_leaves_while_its_call_runs_is_let_go_at_the_owner(
    app: ScriptedApp, store: MemoryStore, beginning: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    async with node_and_owner(app, store) as (mooring, owner, session):
        owner.answer = answer = Silent(beginning, len(CALL))
        request = Request(session=session, headers=LENGTH, pieces=[CALL])
        caplog.clear()
        serving = asyncio.ensure_future(request.to(mooring))
        await asyncio.wait_for(answer.asked.wait(), 5)
        assert not serving.done()
        request.leave()
        await asyncio.wait_for(serving, 5)
        assert (await asyncio.wait_for(answer.seen, 5)).startswith(CALL)
        assert len(owner.heads) == 1
        assert all(message.get("more_body", True) for message in request.sent)
        assert [record for record in caplog.records if record.name == "mooring.forwarding"] == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_not_asked_for_again(
    app: ScriptedApp, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with node_and_owner(app, store) as (mooring, owner, session):
        owner.answer = answer = Silent(reads=10)
        request = Request(session=session, headers=LENGTH, pieces=[CALL[:10]], is_whole=False)
        serving = asyncio.ensure_future(request.to(mooring))
        await asyncio.wait_for(answer.asked.wait(), 5)
        caplog.clear()
        request.leave()
        await asyncio.wait_for(serving, 5)
        assert await asyncio.wait_for(answer.seen, 5) == CALL[:10]
        assert len(owner.heads) == 1
        assert request.sent == []
        assert caplog.messages == []


@pytest.mark.parametrize("pieces", [[CALL], [CALL[:10], CALL[10:]]], ids=["whole", "in pieces"])
async def test_a_request_whose_client_leaves_while_it_is_held_reaches_nobody(
    app: ScriptedApp, store: MemoryStore, pieces: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_and_owner(app, store, hold_seconds=300) as (mooring, _, session):
        forwarder, tries = mooring._node.ways.link, asyncio.Semaphore(0)

        async def silent(*_: Any) -> None:
            tries.release()
            raise PeerSilent("connection refused", may_have_run=False)

        monkeypatch.setattr(forwarder, "forward", silent)
        request = Request(session=session, headers=LENGTH, pieces=pieces)
        serving = asyncio.ensure_future(request.to(mooring))
        for _ in range(3):
            await asyncio.wait_for(tries.acquire(), 5)
        request.leave()
        await asyncio.wait_for(serving, 5)
        assert request.sent == []


@pytest.mark.parametrize("is_out", [True, False], ids=["passed on", "held"])
async def test_a_server_that_ends_and_waits_no_longer_leaves_its_client_no_5xx(
    app: ScriptedApp, store: MemoryStore, is_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with node_and_owner(app, store, hold_seconds=300) as (mooring, _, session):
        has_tried = asyncio.Event()

        async def forward(*_: Any) -> None:
            has_tried.set()
            if not is_out:
                raise PeerSilent("connection refused", may_have_run=False)
            await asyncio.Event().wait()

        monkeypatch.setattr(mooring._node.ways.link, "forward", forward)
        request = Request(session=session, headers=LENGTH, pieces=[CALL])
        serving = asyncio.ensure_future(request.to(mooring))
        await asyncio.wait_for(has_tried.wait(), 5)
        mooring._node.is_ending = True
        serving.cancel()
        await asyncio.wait_for(serving, 5)
        assert (request.status, request.reason) == (200, "unreachable")
        assert json.loads(request.body)["id"] == 7


async def test_a_client_that_got_its_whole_answer_leaves_the_connection_for_the_next(
    cluster: Cluster, raw: RawClient
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    for _ in range(5):
        assert (await raw.call(cluster.nodes[1].url, session)).status == 200
    opener, forwarder = 1, 1
    assert len(cluster.nodes[0].server.server_state.connections) == opener + forwarder


async def test_a_user_that_was_found_around_mooring_is_not_lost_on_the_way(raw: RawClient) -> None:
    """At a port for peers alone nothing around Mooring runs, so its user would be missing there."""

    def signing_in(app: App) -> App:
        async def around(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope["user"] = SimpleNamespace(is_authenticated=True, identity="ada")
            await app(scope, receive, send)

        return around

    store, owners_app, others_app = MemoryStore(), ScriptedApp(), ScriptedApp()
    async with (
        running_node(owners_app, store, "node-1", around=signing_in, peer_ports="any") as owner,
        running_node(others_app, store, "node-2", around=signing_in, hold_seconds=30) as other,
    ):
        session = await raw.open(owner.url)
        await other.mooring._node.keeper.beat()
        before = len(owners_app.asked)
        async with asyncio.timeout(5):
            refused = await raw.call(other.url, session)
        assert (refused.status, refused.reason, len(owners_app.asked)) == (200, "unreachable", before)
        assert (await raw.call(owner.url, session)).status == 200
        other.mooring._node.membership.go(NodeState.DRAINING)
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "count"}}
        modern = {"mcp-protocol-version": "2026-07-28"}
        others_app.gate = reply_to_all
        async with asyncio.timeout(5):  # any node may take this one, and so this one may
            reply = await raw.send("POST", f"{other.url}/mcp", body=call, headers=modern)
        assert (reply.status, reply.json) == (200, {"served": 1})


# What any node may take, on a node that does not want it.


async def silent_peer(peer: RunningNode) -> None:
    """It refuses connections, and its lease is alive."""
    for listener in peer.server.servers:
        listener.close()
    for connection in list(peer.server.server_state.connections):
        connection.transport.abort()


@contextlib.asynccontextmanager
async def draining(count: int) -> AsyncIterator[tuple[list[RunningNode], list[ScriptedApp]]]:
    """The first of them gives away what it has; the second one is the least loaded, and silent."""
    apps = [ScriptedApp() for _ in range(count)]
    waiting = list(apps)
    async with running_nodes(lambda: waiting.pop(0), count, hold_seconds=20) as nodes:
        nodes[0].mooring._node.membership.go(NodeState.DRAINING)
        await nodes[0].mooring._node.keeper.beat()
        takers = nodes[0].mooring._node.membership.view.takers()
        first = next(node for node in nodes if node.id == takers[0].id)
        await silent_peer(first)
        yield nodes, apps


async def test_a_new_session_opens_at_another_peer_where_the_least_loaded_one_is_silent(raw: RawClient) -> None:
    async with draining(3) as (nodes, apps):
        began = time.monotonic()
        session = await raw.open(nodes[0].url)
        assert time.monotonic() - began < 5
        assert not apps[0].sessions
        assert (await raw.call(nodes[0].url, session)).status == 200


@pytest.mark.parametrize("count", [2, 3])
async def test_a_modern_call_is_served_by_another_or_here_where_the_least_loaded_one_is_silent(
    raw: RawClient, count: int
) -> None:
    async with draining(count) as (nodes, apps):
        for app in apps:
            app.gate = reply_to_all
        began = time.monotonic()
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "count"}}
        url, modern = f"{nodes[0].url}/mcp", {"mcp-protocol-version": "2026-07-28"}
        reply = await raw.send("POST", url, body=call, headers=modern)
        assert (reply.status, reply.json) == (200, {"served": 1})
        assert time.monotonic() - began < 5
        assert sum(len(app.asked) for app in apps) == 1


async def reply_to_all(scope: Scope, body: bytes, send: Send) -> None:
    await answer(send, 200, b'{"served": 1}')


async def test_a_new_session_opens_elsewhere_where_the_node_that_was_opening_it_has_died(raw: RawClient) -> None:
    """Nobody has heard of the one that died with it."""
    apps = [ScriptedApp(), ScriptedApp()]
    waiting = list(apps)
    async with running_nodes(lambda: waiting.pop(0), 2, capacity=1) as nodes:
        await raw.open(nodes[0].url)
        asked = asyncio.Event()

        async def hang(scope: Scope, body: bytes, send: Send) -> None:
            asked.set()
            await asyncio.Event().wait()

        apps[1].gate = hang
        opening = asyncio.create_task(raw.open(nodes[0].url))
        await asked.wait()
        await nodes[1].vanish()
        session = await opening
        assert (await raw.call(nodes[0].url, session)).status == 200
        assert len(apps[0].sessions) == 2


async def test_a_batch_that_a_peer_may_have_carried_out_is_not_carried_out_here(
    raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names no session, and so may be anything on a server that has none."""
    apps = [ScriptedApp(), ScriptedApp()]
    waiting = list(apps)
    async with running_nodes(lambda: waiting.pop(0), 2, capacity=1, hold_seconds=1) as nodes:
        await raw.open(nodes[0].url)
        for app in apps:
            app.gate = reply_to_all

        async def lost(forward: Forward, request: PassedRequest) -> None:
            async def nowhere(_: Message) -> None:
                pass

            await forward(replace(request, send=nowhere))
            raise PeerSilent("the connection broke", may_have_run=True)

        interfere(nodes[0], monkeypatch, lost)
        batch = [{"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "pay"}} for n in (1, 2)]
        reply = await raw.send("POST", f"{nodes[0].url}/mcp", body=batch)
        assert sum(body == json.dumps(batch).encode() for app in apps for _, _, body in app.asked) == 1
        assert reply.status == 200


@pytest.mark.parametrize("kib", [1, 100, 900, 3_000])
async def test_a_large_call_arrives_though_its_session_was_given_away_a_moment_ago(raw: RawClient, kib: int) -> None:
    """The node that it came to has not heard of that yet: whom it asks first tells."""
    async with some_nodes(raw, 3, heartbeat_seconds=5, lease_seconds=30) as nodes:
        session = await nodes.open()
        for number in range(3):
            await nodes.node(number).keeper.beat()
        assert await nodes.give(session)
        arguments = {"name": "store", "arguments": {"text": "x" * 1024 * kib}}
        call = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": arguments}
        reply = await raw.call(nodes.running[2].url, session, body=call)
        assert "served" in reply.json
        assert json.loads(nodes.apps[1].asked[-1][2]) == call
