"""A shard goes to a peer whatever happens meanwhile: it has one owner, and no request is lost or carried out twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mooring import ClosedSession
from mooring.asgi import Message, Scope, Send
from mooring.core.model import ShardOwner
from mooring.errors import StoreUnavailable
from tests.node.apps import answer
from tests.node.direct import Request
from tests.node.moving.nodes import Nodes, SlowCall, once, some_nodes
from tests.node.rpc import RawClient


@pytest.fixture
async def nodes(raw: RawClient) -> Any:
    async with some_nodes(raw) as nodes:
        yield nodes


async def test_a_session_goes_on_there_and_its_author_hears_that_it_moved(nodes: Nodes) -> None:
    closed: list[ClosedSession] = []
    nodes.running[0].mooring.on_close(closed.append)
    session = await nodes.open()
    assert await nodes.give(session)
    assert nodes.lives_at(session) == []
    for at in (0, 1):
        assert (await nodes.ping(session, at)).status == 200
    assert nodes.lives_at(session) == [1]
    await nodes.node(0).sessions.settle()
    assert [(one.id, one.reason) for one in closed] == [(session, "moved")]
    assert [method for method, _, _ in nodes.apps[0].asked] == ["POST", "DELETE"]


async def test_what_is_asked_meanwhile_is_held_and_then_carried_out_there_once(nodes: Nodes) -> None:
    session = await nodes.open()
    slow = SlowCall(nodes.apps[0])
    first = asyncio.create_task(nodes.ping(session))
    await slow.has_begun.wait()
    giving = asyncio.create_task(nodes.give(session, 5.0))
    await once(lambda: bool(nodes.node(0).membership.moving), what="the shard to be held")
    held = [asyncio.create_task(nodes.ping(session, at)) for at in (0, 1, 0)]
    asked = len(nodes.apps[0].asked)
    await once(lambda: nodes.node(0).held > 0, what="a request to be held")
    assert len(nodes.apps[0].asked) == asked
    slow.may_end.set()
    assert (await first).json == {"slow": True}
    assert await giving
    assert [reply.status for reply in await asyncio.gather(*held)] == [200, 200, 200]
    pings = [session_id for _, session_id, body in nodes.apps[1].asked if b"ping" in body]
    assert len(pings) == 3


async def test_a_slow_call_keeps_its_shard_and_what_was_held_is_served_here(nodes: Nodes) -> None:
    session = await nodes.open()
    slow = SlowCall(nodes.apps[0])
    first = asyncio.create_task(nodes.ping(session))
    await slow.has_begun.wait()
    assert not await nodes.give(session, 0.05)
    assert nodes.hand_over().is_busy(nodes.shard_of(session))
    slow.may_end.set()
    assert (await first).status == 200
    assert (await nodes.ping(session, 1)).status == 200
    assert nodes.lives_at(session) == [0]


async def test_a_call_that_is_cut_off_is_answered_once_as_nobody_knows(nodes: Nodes) -> None:
    session = await nodes.open()
    slow = SlowCall(nodes.apps[0])
    first = asyncio.create_task(nodes.ping(session))
    await slow.has_begun.wait()
    assert await nodes.give(session, 0.05, cuts_off=True)
    assert ((await first).status, (await first).reason) == (200, "outcome_unknown")
    assert (await nodes.ping(session, 0)).status == 200
    assert nodes.lives_at(session) == [1]


async def test_while_the_store_is_away_nothing_moves_and_clients_go_on(nodes: Nodes) -> None:
    session = await nodes.open()
    nodes.store.away = True
    assert not await nodes.give(session)
    assert nodes.node(0).membership.moving == set()
    nodes.store.away = False
    await nodes.node(0).keeper.beat()
    assert (await nodes.ping(session)).status == 200
    assert nodes.lives_at(session) == [0]
    assert await nodes.give(session)


async def test_an_answer_of_the_store_that_was_lost_is_asked_for_again(nodes: Nodes) -> None:
    session = await nodes.open()

    async def lose() -> None:
        raise StoreUnavailable("lost on its way")

    nodes.store.after["give"] = lose
    assert await nodes.give(session)
    assert nodes.store.calls.count("give") == 2
    assert (await nodes.ping(session)).status == 200
    assert nodes.lives_at(session) == [1]


async def test_a_heartbeat_that_hears_first_fences_nothing(nodes: Nodes) -> None:
    closed: list[ClosedSession] = []
    nodes.running[0].mooring.on_close(closed.append)
    session = await nodes.open()
    nodes.store.after["give"] = nodes.node(0).keeper.beat
    assert await nodes.give(session)
    await nodes.node(0).sessions.settle()
    assert [one.reason for one in closed] == ["moved"]


async def test_a_peer_that_died_gets_nothing(nodes: Nodes) -> None:
    session = await nodes.open()
    receiver = nodes.info(1)
    await nodes.running[1].vanish()
    await nodes.store.inner.bury(receiver.id)
    assert not await nodes.hand_over().give(nodes.shard_of(session), receiver, 1.0)
    assert (await nodes.ping(session)).status == 200
    assert nodes.lives_at(session) == [0]


async def test_a_shard_that_another_node_has_by_now_is_nothing_to_give(nodes: Nodes) -> None:
    session = await nodes.open()
    assert await nodes.give(session)
    before = nodes.store.calls.count("give")
    assert await nodes.give(session)
    assert nodes.store.calls.count("give") == before


async def test_a_session_that_is_opened_at_this_moment_comes_along(nodes: Nodes) -> None:
    """The shard stays until it is there: else its client would hear of a session that nobody has."""
    gate = asyncio.Event()
    shards = list(nodes.node(0).membership.shards)

    async def wait() -> None:
        await gate.wait()

    nodes.store.before["save_session"] = wait
    opening = asyncio.create_task(nodes.open())
    await once(lambda: any(map(nodes.node(0).arrivals.are_in, shards)), what="a session to arrive")
    shard = next(filter(nodes.node(0).arrivals.are_in, shards))
    giving = asyncio.create_task(nodes.hand_over().give(shard, nodes.info(1), 5.0))
    await once(lambda: bool(nodes.node(0).membership.moving), what="the shard to be held")
    gate.set()
    session = await opening
    assert await giving
    assert (await nodes.ping(session)).status == 200
    assert nodes.lives_at(session) == [1]


async def test_nothing_new_begins_in_a_shard_that_is_on_its_way(nodes: Nodes) -> None:
    session = await nodes.open()
    shard, opened = nodes.shard_of(session), []

    async def open_some() -> None:
        opened.extend([await nodes.open() for _ in nodes.node(0).membership.shards])

    nodes.store.before["give"] = open_some
    assert await nodes.give(session)
    assert opened
    assert {nodes.node(0).ids.shard_of(one) for one in opened}.isdisjoint({shard})
    for one in opened:
        assert nodes.lives_at(one) == [0]


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_session_that_is_opened_in_the_last_moment_lives_at_one_node(raw: RawClient, moment: str) -> None:
    """There is no other shard for it."""
    async with some_nodes(raw, shards=1) as nodes:
        closed: list[ClosedSession] = []
        nodes.running[0].mooring.on_close(closed.append)
        session, opened = await nodes.open(), []

        async def open_one() -> None:
            opened.append(await nodes.open())

        getattr(nodes.store, moment)["give"] = open_one
        assert await nodes.give(session)
        assert nodes.lives_at(opened[0]) == []
        for at in (0, 1, 0):
            assert (await nodes.ping(opened[0], at)).status == 200
            assert nodes.lives_at(opened[0]) == [1]
        await nodes.node(0).sessions.settle()
        assert {(one.id, one.reason) for one in closed} == {(session, "moved"), (opened[0], "moved")}


async def test_a_client_that_takes_nothing_holds_up_nobody_elses_session(nodes: Nodes) -> None:
    """It is let go like one that has left, and comes back to the peer."""
    node, app = nodes.node(0), nodes.apps[0]
    session = await nodes.open()
    speaks = asyncio.Event()

    async def stream(scope: Scope, body: bytes, send: Send) -> None:
        if scope["method"] != "GET":
            await answer(send, 200, b"{}")
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await speaks.wait()
        await send({"type": "http.response.body", "body": b"data: said\n\n", "more_body": True})
        await asyncio.Event().wait()

    app.on_session = stream
    stalls = asyncio.Event()
    request = Request("GET", session=session, headers=[(b"accept", b"text/event-stream")])

    async def stall(message: Message) -> None:
        if b"said" in message.get("body", b""):
            stalls.set()
            await asyncio.Event().wait()

    listens = asyncio.create_task(nodes.running[0].mooring(request.scope, request.receive, stall))
    await once(lambda: any(stream.has_listener for stream in node.streams.of(session)), what="it to listen")
    speaks.set()
    await stalls.wait()
    async with asyncio.timeout(5):
        assert await nodes.give(session)
    assert (await nodes.ping(session)).status == 200
    async with asyncio.timeout(5):
        await asyncio.wait({listens})


async def test_a_shard_that_is_lost_before_it_is_given_is_not_given(nodes: Nodes) -> None:
    """As where somebody takes this node for dead, or a peer says who has it by now."""
    node, session = nodes.node(0), await nodes.open()
    local = node.sessions.find(session)
    assert local is not None
    async with local.state_turn:
        giving = asyncio.create_task(nodes.give(session))
        await once(lambda: bool(local.state_turn._waiters), what="the last step")
        node.keeper._fence(node.membership.declared_dead())
    assert not await giving
    assert "give" not in nodes.store.calls
    assert node.membership.moving == set()


async def test_of_a_shard_that_may_be_given_the_store_is_asked_before_it_is_served(raw: RawClient) -> None:
    """No answer of the store's came, for as long as requests can wait; the next heartbeat is a while away."""
    async with some_nodes(raw, hold_seconds=0.4, heartbeat_seconds=60, lease_seconds=600) as nodes:
        await nodes.node(0).keeper.beat()
        session = await nodes.open()

        async def lose() -> None:
            nodes.store.after["give"] = lose
            raise StoreUnavailable("lost on its way")

        nodes.store.after["give"] = lose
        assert not await nodes.give(session)
        await nodes.node(1).keeper.beat()
        asked = len(nodes.apps[0].asked)
        assert (await nodes.ping(session)).status == 200
        assert nodes.lives_at(session) == [1]
        assert [body for _, _, body in nodes.apps[0].asked[asked:] if b"ping" in body] == []


async def test_nor_is_one_served_that_turns_out_to_be_anothers(raw: RawClient) -> None:
    """As where this node was paused in the middle of it, for longer than its lease."""
    async with some_nodes(raw, 3, heartbeat_seconds=60, lease_seconds=600) as nodes:
        for at in range(3):
            await nodes.node(at).keeper.beat()
        session = await nodes.open()
        shard = nodes.shard_of(session)

        async def adopt() -> None:
            await nodes.store.inner.give(shard, ShardOwner(nodes.node(0).id, 1), nodes.node(2).id)
            await nodes.node(2).keeper.beat()

        nodes.store.before["give"] = adopt
        assert not await nodes.give(session)
        asked = len(nodes.apps[0].asked)
        assert (await nodes.ping(session)).status == 200
        assert nodes.lives_at(session) == [2]
        assert [body for _, _, body in nodes.apps[0].asked[asked:] if b"ping" in body] == []
