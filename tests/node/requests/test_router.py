"""Requests through several nodes: forwarded once, refused with a reason, and never lost in between."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mooring.asgi import Message, Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import NodeInfo, ShardOwner
from mooring.errors import PeerSilent
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_nodes
from tests.fakes import Clock, FlakyStore, store_that_is_away
from tests.node.apps import ScriptedApp
from tests.node.clusters import Cluster
from tests.node.direct import Request, initialize, joined
from tests.node.links.odd_peer import odd_peer
from tests.node.rpc import INITIALIZE, RawClient
from tests.waiting import until


async def test_every_node_serves_every_session(cluster: Cluster, raw: RawClient) -> None:
    sessions = [await raw.open(node.url) for node in cluster.nodes]
    for session in sessions:
        for node in cluster.nodes:
            reply = await raw.call(node.url, session)
            assert (reply.status, reply.session_id) == (200, session)
    assert [cluster.tally(n).forwarded_in for n in range(3)] == [2, 2, 2]
    assert [cluster.tally(n).forwarded_out for n in range(3)] == [2, 2, 2]
    assert [cluster.tally(n).served for n in range(3)] == [4, 4, 4]


async def test_a_modern_request_learns_no_session_id(cluster: Cluster, raw: RawClient) -> None:
    """An app of the legacy era refuses it, and names a session that it has opened for it."""
    reply = await raw.send(
        "POST", f"{cluster.nodes[0].url}/mcp", body={}, headers={"mcp-protocol-version": "2026-07-28"}
    )
    assert (reply.status, reply.body) == (400, b'{"error": "initialize first"}')
    assert "mcp-session-id" not in reply.headers


async def test_an_owner_that_refuses_connections_is_dead_when_its_lease_is_over_and_not_before(
    cluster: Cluster, raw: RawClient
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    shard, before = session.partition(".")[0], (await cluster.store.snapshot()).shards or {}
    await cluster.nodes[0].vanish()
    lease = (await cluster.store.snapshot()).leases[cluster.nodes[0].id]
    reply = await raw.call(cluster.nodes[1].url, session)
    snapshot = await cluster.store.snapshot()
    assert (reply.status, reply.reason) == (404, "owner_lost")
    assert snapshot.now_ms >= lease.until_ms
    assert (snapshot.shards or {})[shard] == ShardOwner(cluster.nodes[1].id, before[shard].epoch + 1)
    assert await cluster.store.load_session(session) is None
    again = await raw.call(cluster.nodes[2].url, session)
    assert (again.status, again.reason) == (404, "expired")
    anew = await raw.open(cluster.nodes[1].url)
    assert (await raw.call(cluster.nodes[2].url, anew)).status == 200


async def test_delete_of_a_dead_nodes_session_removes_the_record_once(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].vanish()
    url = f"{cluster.nodes[1].url}/mcp"
    assert (await raw.send("DELETE", url, session=session)).status == 200
    assert await cluster.store.load_session(session) is None
    assert (await raw.send("DELETE", url, session=session)).reason == "expired"


async def test_a_node_that_said_goodbye_is_dead_to_its_peers(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].mooring._node.keeper.leave()
    reply = await raw.call(cluster.nodes[1].url, session)
    # Before the next heartbeat the peer still forwards, to a node that serves until it is gone.
    assert reply.status in (200, 404)

    async def lost() -> bool:
        return (await raw.call(cluster.nodes[1].url, session)).status == 404

    await until(lost, what="the goodbye to be seen")


async def test_a_stranger_at_the_owners_address_is_no_evidence_of_its_death(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    owner, stranger = cluster.nodes[0].mooring._node, cluster.nodes[2].mooring._node
    owner._url = stranger._url
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

    monkeypatch.setattr(peer.forwarder, "forward", refuse_though_alive)
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


Forward = Callable[..., Awaitable[None]]


def interfere(node: RunningNode, monkeypatch: pytest.MonkeyPatch, around: Callable[[Forward, Any], Any]) -> list[str]:
    """Let `around` have every forward of this node; returns the nonces under which requests went out."""
    nonces: list[str] = []
    forward = node.mooring._node.forwarder.forward

    async def watched(peer: NodeInfo, nonce: str, *request: Any) -> None:
        nonces.append(nonce)
        await around(forward, (peer, nonce, *request))

    monkeypatch.setattr(node.mooring._node.forwarder, "forward", watched)
    return nonces


async def test_a_request_is_held_until_its_owner_answers(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    silences = iter([True, True, False])

    async def silent_at_first(forward: Forward, request: Any) -> None:
        if next(silences):
            raise PeerSilent("connection refused", may_have_run=False)
        await forward(*request)

    nonces = interfere(cluster.nodes[1], monkeypatch, silent_at_first)
    asked = len(cluster.apps[0].asked)
    assert (await raw.call(cluster.nodes[1].url, session)).json == {"served": asked + 1}
    assert len(cluster.apps[0].asked) == asked + 1
    assert len(set(nonces)) == 3


async def test_a_request_whose_answer_was_lost_is_never_carried_out_twice(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)

    async def lose_the_answer(forward: Forward, request: Any) -> None:
        async def drop(_: Message) -> None:
            pass

        await forward(*request[:-2], drop, request[-1])
        raise PeerSilent("connection reset", may_have_run=True)

    nonces = interfere(cluster.nodes[1], monkeypatch, lose_the_answer)
    asked = len(cluster.apps[0].asked)
    reply = await raw.call(cluster.nodes[1].url, session, body={"jsonrpc": "2.0", "id": 5, "method": "tools/call"})
    assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 5)
    assert len(cluster.apps[0].asked) == asked + 1
    assert len(nonces) == 2
    assert len(set(nonces)) == 1
    assert await cluster.store.load_session(session) is not None


async def test_a_request_that_never_arrived_though_nobody_can_say_so_is_carried_out_once(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    resets = iter([True, False])

    async def reset_at_first(forward: Forward, request: Any) -> None:
        if next(resets):
            raise PeerSilent("connection reset", may_have_run=True)
        await forward(*request)

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


async def test_an_app_that_raises_is_no_stranger(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)

    async def fail(scope: Scope, body: bytes, send: Send) -> None:
        raise ZeroDivisionError

    cluster.apps[0].on_session = fail
    at_home = await raw.call(cluster.nodes[0].url, session)
    forwarded = await raw.call(cluster.nodes[1].url, session)
    assert (forwarded.status, forwarded.body) == (at_home.status, at_home.body) == (500, b"Internal Server Error")
    cluster.apps[0].on_session = None
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200


async def test_however_many_ask_for_an_unknown_session_the_store_is_asked_once_or_twice(
    cluster: Cluster, raw: RawClient
) -> None:
    node = cluster.nodes[0]
    counting = FlakyStore(cluster.store)
    node.mooring._node.keeper._store = counting
    unknown = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
    replies = await asyncio.gather(*(raw.call(node.url, unknown) for _ in range(50)))
    assert {reply.reason for reply in replies} == {"unknown"}
    assert counting.calls.count("snapshot") < 20


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
        monkeypatch.setattr(nodes[0].mooring._node.forwarder, "forward", silent)
        await raw.open(nodes[0].url)
        assert [len(app.sessions) for app in apps] == [2, 0]


async def test_ids_that_were_never_minted_are_forged(cluster: Cluster, raw: RawClient) -> None:
    good = await raw.open(cluster.nodes[0].url)
    before = await cluster.store.snapshot()
    for bad in ["x", "a" * 10_000, good[:-1], good + "A", good.upper(), "../../etc/passwd", "{}", "*", "a b"]:
        reply = await raw.call(cluster.nodes[1].url, bad)
        assert (reply.status, reply.reason) == (404, "forged"), bad
        assert bad.encode() not in reply.body
    assert [record.id async for record in cluster.store.sessions()] == [good]
    assert (await cluster.store.snapshot()).shards == before.shards


async def test_a_retired_shards_session_is_unknown(cluster: Cluster, raw: RawClient) -> None:
    reply = await raw.call(cluster.nodes[0].url, SessionIds(SECRET).mint("zzzzz", b"0" * 16))
    assert (reply.status, reply.reason) == (404, "unknown")


async def test_a_session_id_twice_is_a_bad_request(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    reply = await raw.call(cluster.nodes[0].url, session, headers=[("mcp-session-id", session)])
    assert (reply.status, reply.reason) == (400, "duplicate_header")


async def test_an_unknown_session_is_not_said_to_be_gone_while_the_store_may_lack_it(
    cluster: Cluster, raw: RawClient
) -> None:
    node = cluster.nodes[0]
    lost = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
    cluster.store._leases.clear()
    cluster.store._shards.clear()
    reply = await raw.call(node.url, lost, body={"jsonrpc": "2.0", "id": 3, "method": "ping"})
    assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 3)

    async def has_everything_again() -> bool:
        return len((await cluster.store.snapshot()).shards or {}) == 24

    await until(has_everything_again, what="the store to have everything again")
    assert (await raw.call(node.url, lost)).reason == "unreachable"
    keeper = node.mooring._node.keeper
    keeper._now = lambda: time.monotonic() + node.mooring.settings.lease_seconds
    assert not keeper.is_in_grace
    assert (await raw.call(node.url, lost)).reason == "unknown"


async def test_what_is_logged_was_verified(cluster: Cluster, raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="mooring")
    session = await raw.open(cluster.nodes[0].url)
    await raw.call(cluster.nodes[1].url, "evil-id-with-a-fake-log-line")
    await raw.call(cluster.nodes[1].url, session, headers={"mooring-peer": "evil-claim"})
    await cluster.nodes[0].vanish()
    await raw.call(cluster.nodes[1].url, session)
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("mooring"))
    assert "evil" not in said
    assert session not in said
    assert f"{session[:10]}... of {cluster.nodes[1].id}: owner_lost" in said
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in warned if f"node {cluster.nodes[0].id} cannot be reached" in line]) == 1


async def test_a_node_that_was_paused_asks_the_store_before_it_serves_what_it_may_have_lost(
    app: ScriptedApp, store: MemoryStore
) -> None:
    async with odd_peer() as new_owner, joined(app, store) as mooring:
        node = mooring._node
        kept, lost = [(await initialize().to(mooring)).session_id for _ in range(2)]
        shard = node.ids.shard_of(lost)
        assert shard is not None
        assert shard != node.ids.shard_of(kept)
        await store.register(replace(new_owner.info, secret_id=node.describe().secret_id), 600)
        await store.claim(shard, ShardOwner(new_owner.info.id, 2), expected_epoch=1)
        served = len(app.asked)
        node.keeper._now = Clock(time.monotonic() + 1000)
        assert (await Request(session=lost).to(mooring)).body == b"{}"
        assert len(app.asked) == served
        assert len(new_owner.heads) == 1
        assert not node.keeper.has_lapsed
        assert (await Request(session=kept).to(mooring)).status == 200


async def test_what_the_first_node_alone_knows_of_who_asks_counts_for_nothing(cluster: Cluster, raw: RawClient) -> None:
    """The owner's own authentication is the authority: its app authenticates nobody, and nobody opened the session."""
    session = await raw.open(cluster.nodes[0].url)
    stranger = Request(session=session, pieces=[b"{}"], headers=[(b"content-length", b"2")])
    stranger.scope["user"] = SimpleNamespace(is_authenticated=True, identity="mallory")
    await stranger.to(cluster.nodes[1].mooring)
    assert stranger.status == 200
    assert len(cluster.apps[0].asked) == 2
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200
