"""A node that is told to stop: what it has goes on elsewhere, and what it cannot give away stays on record."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from mooring.asgi import Scope, Send
from mooring.core.model import NodeState
from mooring.errors import StoreUnavailable
from mooring.node.moving.draining import Drain
from mooring.store import MemoryStore
from tests.cluster_in_process import running_nodes
from tests.fakes import FlakyStore
from tests.node.moving.nodes import Nodes, SlowCall, once, some_nodes
from tests.node.requests.test_standing import Speaker
from tests.node.rpc import RawClient
from tests.node.tellers import reading

SESSIONS = 6


@pytest.fixture
async def nodes(raw: RawClient) -> Any:
    async with some_nodes(raw, 3, drain_seconds=0.5, ingress_seconds=0.05) as nodes:
        yield nodes


async def status(nodes: Nodes, path: str, at: int = 0) -> int:
    return (await nodes.raw.send("GET", f"{nodes.running[at].url}{path}")).status


async def test_all_sessions_go_to_the_others_evenly(nodes: Nodes) -> None:
    sessions = [await nodes.open() for _ in range(SESSIONS)]
    await nodes.running[0].mooring.drain()
    assert [(await nodes.ping(session)).status for session in sessions] == [200] * SESSIONS
    homes = [nodes.lives_at(session) for session in sessions]
    assert {len(home) for home in homes} == {1}
    assert sorted(home[0] for home in homes) == [1, 1, 1, 2, 2, 2]
    assert dict(nodes.node(0).membership.shards) == {}


async def test_peers_that_are_full_take_what_goes_on(raw: RawClient) -> None:
    async with some_nodes(raw, 3, capacity=1, drain_seconds=0.5, ingress_seconds=0.05) as nodes:
        sessions = [await nodes.open(at) for at in range(3)]
        await asyncio.gather(*(node.mooring._node.keeper.beat() for node in nodes.running))
        await nodes.node(0).keeper.beat()
        assert [nodes.lives_at(session) for session in sessions] == [[0], [1], [2]]
        await nodes.running[0].mooring.drain()
        assert nodes.node(0).membership.shards == {}
        assert (await nodes.ping(sessions[0], at=1)).status == 200
        assert nodes.lives_at(sessions[0]) in ([1], [2])


async def test_load_balancers_hear_that_it_takes_nothing_new_and_then_that_it_ends(nodes: Nodes) -> None:
    session = await nodes.open()
    slow = SlowCall(nodes.apps[0])
    call = asyncio.create_task(nodes.ping(session))
    await slow.has_begun.wait()
    draining = asyncio.create_task(nodes.running[0].mooring.drain())
    await once(lambda: nodes.node(0).membership.state is NodeState.DRAINING, what="the node to drain")
    assert (await status(nodes, "/readyz"), await status(nodes, "/healthz")) == (503, 200)
    slow.may_end.set()
    assert (await call).status == 200
    await draining
    assert (await status(nodes, "/readyz"), await status(nodes, "/healthz")) == (503, 503)


async def test_who_asked_a_peer_through_it_gets_an_answer_first(raw: RawClient) -> None:
    async with some_nodes(raw, 2, drain_seconds=30, ingress_seconds=0.05) as nodes:
        session = await nodes.open(1)
        slow = SlowCall(nodes.apps[1])
        call = asyncio.create_task(nodes.ping(session))
        await slow.has_begun.wait()
        draining = asyncio.create_task(nodes.running[0].mooring.drain())
        await once(lambda: nodes.node(0).is_ending, what="the node to have given all away")
        await asyncio.sleep(0.3)  # that it does not end has no other sign
        assert not draining.done()
        slow.may_end.set()
        await draining
        assert (await call).status == 200


async def test_it_does_not_wait_for_the_answers_of_others_for_ever(nodes: Nodes) -> None:
    session = await nodes.open(1)
    slow = SlowCall(nodes.apps[1])
    call = asyncio.create_task(nodes.ping(session))
    await slow.has_begun.wait()
    await nodes.running[0].mooring.drain()
    assert not call.done()
    slow.may_end.set()
    assert (await call).status == 200


async def test_who_opens_a_session_there_gets_one_elsewhere(nodes: Nodes) -> None:
    await nodes.running[0].mooring.drain()
    session = await nodes.open()
    assert nodes.lives_at(session) in ([1], [2])


async def test_whose_node_died_meanwhile_goes_on_where_nothing_is_about_to_end(nodes: Nodes) -> None:
    session = await nodes.open(1)
    await nodes.running[0].mooring.drain()
    await nodes.running[1].vanish()
    await nodes.store.inner.bury(nodes.running[1].id)
    assert (await nodes.ping(session)).status == 200
    assert nodes.node(2).sessions.find(session) is not None
    assert dict(nodes.node(0).membership.shards) == {}


async def test_a_peer_that_does_not_know_yet_is_told_to_look_again(nodes: Nodes) -> None:
    """It passes a new session on to a node that has begun to drain since."""
    nodes.node(1).membership.go(NodeState.DRAINING)
    nodes.node(0).membership.go(NodeState.DRAINING)  # nobody has heard of it yet
    session = await nodes.open(1)
    assert nodes.lives_at(session) == [2]
    assert nodes.node(1).tally.forwarded_out > 0


async def test_a_call_that_outlasts_the_deadline_is_cut_off_and_the_rest_did_not_wait_for_it(nodes: Nodes) -> None:
    sessions = [await nodes.open() for _ in range(SESSIONS)]
    slow = SlowCall(nodes.apps[0])
    call = asyncio.create_task(nodes.ping(sessions[0]))
    await slow.has_begun.wait()
    nodes.apps[0].on_session = None
    draining = asyncio.create_task(nodes.running[0].mooring.drain())
    for session in sessions[1:]:
        assert (await nodes.ping(session)).status == 200
    await draining
    assert (await call).reason == "outcome_unknown"
    for session in sessions:
        assert (await nodes.ping(session)).status == 200
        assert nodes.lives_at(session) in ([1], [2])


async def test_the_last_node_gives_nothing_and_leaves_records(raw: RawClient) -> None:
    async with some_nodes(raw, 1, ingress_seconds=60) as nodes:
        session = await nodes.open()
        await nodes.running[0].mooring.drain()
        assert nodes.lives_at(session) == [0]
        assert await nodes.store.load_session(session) is not None
        assert await status(nodes, "/healthz") == 503


@pytest.mark.parametrize("silences", [1, 3])
async def test_what_was_said_to_nobody_is_on_record_though_redis_is_silent_as_the_last_node_stops(
    raw: RawClient, silences: int
) -> None:
    store, speaker = FlakyStore(MemoryStore()), Speaker()
    options: dict[str, Any] = {"stream_write_after_seconds": 60.0, "ingress_seconds": 0}
    async with aiohttp.ClientSession() as http, running_nodes(lambda: speaker, 1, store, **options) as [node]:
        session = await raw.open(node.url)
        async with reading(http, "GET", node.url, session) as reader:
            speaker.say("a")
            await reader.next()
            reader.answer.close()
        speaker.say("b")
        [stream] = node.mooring._node.streams.standing()
        left = [silences]

        async def away() -> None:
            left[0] -= 1
            if left[0]:
                store.before["append_all"] = away
            raise StoreUnavailable("away for one call")

        store.before["append_all"] = away
        await node.mooring.drain()
        assert left == [0]
        said = [entry.data for entry in await store.inner.journal.read(session, stream.id)]
        assert any(b"data: b" in (data or b"") for data in said)


async def test_whoever_begins_to_listen_there_while_it_drains_hears_the_end_as_well(raw: RawClient) -> None:
    async with some_nodes(raw, 1, ingress_seconds=0) as nodes:
        session = await nodes.open()
        is_asked, may_begin = asyncio.Event(), asyncio.Event()

        async def listen(scope: Scope, body: bytes, send: Send) -> None:
            is_asked.set()
            await may_begin.wait()
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await asyncio.Event().wait()

        nodes.apps[0].on_session = listen
        accept = {"accept": "text/event-stream"}
        stream = asyncio.create_task(raw.send("GET", f"{nodes.running[0].url}/mcp", session=session, headers=accept))
        await is_asked.wait()
        await nodes.running[0].mooring.drain()
        may_begin.set()
        reply = await asyncio.wait_for(stream, 5)
        assert (reply.status, reply.body[:4]) == (200, b"id: ")


async def test_all_that_drain_at_once_come_to_an_end(nodes: Nodes) -> None:
    sessions = [await nodes.open(at) for at in range(3)]
    await asyncio.wait_for(asyncio.gather(*(one.mooring.drain() for one in nodes.running)), 10)
    for session in sessions:
        assert await nodes.store.load_session(session) is not None


async def test_told_twice_it_drains_once(nodes: Nodes) -> None:
    session = await nodes.open()
    done = await asyncio.gather(Drain(nodes.node(0)).run(), Drain(nodes.node(0)).run())
    assert all(done)
    given = nodes.store.calls.count("give")
    assert given == len((await nodes.store.snapshot()).shards) / 3
    assert (await nodes.ping(session)).status == 200


async def test_without_its_store_it_goes_on_until_it_is_stopped(nodes: Nodes) -> None:
    session = await nodes.open()
    nodes.store.away = True
    draining = asyncio.create_task(nodes.running[0].mooring.drain())
    await once(lambda: nodes.node(0).membership.state is NodeState.DRAINING, what="the node to drain")
    assert (await nodes.ping(session)).status == 200
    nodes.store.away = False
    await draining
    assert (await nodes.ping(session)).status == 200
    assert nodes.lives_at(session) in ([1], [2])


async def test_a_receiver_that_dies_on_the_way_is_no_receiver(nodes: Nodes) -> None:
    sessions = [await nodes.open() for _ in range(SESSIONS)]

    async def die() -> None:
        await nodes.running[1].vanish()
        await nodes.store.inner.bury(nodes.running[1].id)

    nodes.store.before["give"] = die
    await nodes.running[0].mooring.drain()
    for session in sessions:
        assert (await nodes.ping(session, 2)).status == 200
        assert nodes.lives_at(session)[-1:] == [2]


async def test_a_node_that_never_joined_has_nothing_to_give(nodes: Nodes) -> None:
    await nodes.running[0].vanish()
    nodes.node(0)._heart = None
    assert await Drain(nodes.node(0)).run() is False
