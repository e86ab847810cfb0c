"""Requests through several nodes: forwarded once, refused with a reason, and never lost in between."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mooring.core.ids import SessionIds
from mooring.core.model import ShardOwner
from mooring.errors import PeerSilent
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_nodes
from tests.fakes import Clock
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


async def test_a_modern_request_is_served_where_it_lands(node: RunningNode, app: ScriptedApp, raw: RawClient) -> None:
    session = "zzzzz.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAA"
    reply = await raw.call(node.url, session, headers={"mcp-protocol-version": "2026-07-28"})
    assert reply.status == 404
    assert reply.json == {"error": "inner says no"}
    assert app.asked[-1][1] == session


async def test_a_dead_owner_is_noticed_at_once_and_its_records_go(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].vanish()
    reply = await raw.call(cluster.nodes[1].url, session)
    assert (reply.status, reply.reason) == (404, "owner_lost")
    assert await cluster.store.load_session(session) is None
    again = await raw.call(cluster.nodes[2].url, session)
    assert (again.status, again.reason) == (404, "owner_lost")
    anew = await raw.open(cluster.nodes[1].url)
    assert (await raw.call(cluster.nodes[2].url, anew)).status == 200


async def test_delete_of_a_dead_nodes_session_removes_the_record_once(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].vanish()
    url = f"{cluster.nodes[1].url}/mcp"
    assert (await raw.send("DELETE", url, session=session)).status == 200
    assert await cluster.store.load_session(session) is None
    assert (await raw.send("DELETE", url, session=session)).reason == "owner_lost"


async def test_a_node_that_said_goodbye_is_dead_to_its_peers(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].mooring._node.keeper.leave()
    reply = await raw.call(cluster.nodes[1].url, session)
    # Before the next heartbeat the peer still forwards, to a node that serves until it is gone.
    assert reply.status in (200, 404)

    async def lost() -> bool:
        return (await raw.call(cluster.nodes[1].url, session)).status == 404

    await until(lost, what="the goodbye to be seen")


async def test_a_stranger_at_the_owners_address_is_not_the_owner(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    owner, stranger = cluster.nodes[0].mooring._node, cluster.nodes[2].mooring._node
    owner._url = stranger._url
    await owner.keeper.beat()
    await cluster.nodes[1].mooring._node.keeper.beat()
    reply = await raw.call(cluster.nodes[1].url, session)
    assert (reply.status, reply.reason) == (404, "owner_lost")
    assert stranger.tally.refused["signature"] == 1


async def test_an_owner_that_does_not_answer_costs_neither_client_nor_session(
    cluster: Cluster, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await raw.open(cluster.nodes[0].url)
    owner, peer = cluster.nodes[0].mooring._node, cluster.nodes[1].mooring._node
    await owner.keeper.beat()
    await peer.keeper.beat()

    async def refuse_though_alive(*_: Any) -> None:
        raise PeerSilent("no connection in time")

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
        raise PeerSilent("no connection in time")

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
    assert f"{session[:10]}... of {cluster.nodes[0].id}: owner_lost" in said


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


async def test_who_the_first_node_knows_to_ask_counts_on_the_owner_too(cluster: Cluster, raw: RawClient) -> None:
    """An app that authenticates nobody, behind something that does, on one node only."""
    session = await raw.open(cluster.nodes[0].url)
    stranger = Request(session=session, pieces=[b"{}"], headers=[(b"content-length", b"2")])
    stranger.scope["user"] = SimpleNamespace(is_authenticated=True, identity="mallory")
    await stranger.to(cluster.nodes[1].mooring)
    assert (stranger.status, stranger.reason) == (404, "unknown")
    assert cluster.tally(0).refused["principal"] == 1
    assert len(cluster.apps[0].asked) == 1
    assert (await raw.call(cluster.nodes[1].url, session)).status == 200
