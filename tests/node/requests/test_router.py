"""Requests through several nodes: forwarded once, refused with a reason, and never lost in between."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from mooring.asgi import Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import ShardOwner
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET
from tests.fakes import Clock, FlakyStore
from tests.node.apps import ScriptedApp
from tests.node.clusters import Cluster
from tests.node.direct import Request, initialize, joined
from tests.node.links.odd_peer import odd_peer
from tests.node.rpc import RawClient
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


async def test_a_node_that_said_goodbye_is_dead_to_its_peers(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].mooring._node.keeper.leave()
    reply = await raw.call(cluster.nodes[1].url, session)
    # Before the next heartbeat the peer still forwards, to a node that serves until it is gone.
    assert (reply.status, reply.session_id) == (200, session)

    async def lives_elsewhere() -> bool:
        assert (await raw.call(cluster.nodes[1].url, session)).status == 200
        return cluster.tally(1).revived + cluster.tally(2).revived == 1

    await until(lives_elsewhere, what="the goodbye to be seen")
    assert cluster.tally(0).revived == 0


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

    async def is_filled() -> bool:
        return not node.mooring._node.keeper.store_is_filling

    await until(is_filled, what="the store to have everything, as far as anybody can know")
    counting = FlakyStore(cluster.store)
    node.mooring._node.keeper._store = counting
    unknown = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
    replies = await asyncio.gather(*(raw.call(node.url, unknown) for _ in range(50)))
    assert {reply.reason for reply in replies} == {"unknown"}
    assert counting.calls.count("look") < 20


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
        await node.sessions.settle()
        assert [method for method, *_ in app.asked[served:]] == ["DELETE"]  # its own end of what it lost
        assert len(new_owner.heads) == 1
        assert not node.keeper.has_lapsed
        assert (await Request(session=kept).to(mooring)).status == 200


async def test_an_accept_of_megabytes_takes_no_time() -> None:
    async with joined(ScriptedApp()) as mooring:
        session = (await initialize().to(mooring)).session_id
        request = Request("GET", session=session, headers=[(b"accept", b"," * 4_000_000)])
        began = time.process_time()
        await request.to(mooring)
        assert time.process_time() - began < 0.2
