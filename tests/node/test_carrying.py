"""What an app keeps of a session in memory goes along when its node gives it away, and never comes after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mooring import MovingSession, RevivedSession
from mooring.core.model import Touch
from mooring.errors import StoreUnavailable
from mooring.node.node import Node
from tests.cluster_in_process import running_node
from tests.node.apps import ScriptedApp
from tests.node.moving.nodes import Nodes, once, some_nodes
from tests.node.rpc import RawClient
from tests.waiting import until


class Memory:
    """What one node's app keeps, and how it dumps and loads that."""

    def __init__(self, node: Any) -> None:
        self.of: dict[str, bytes] = {}
        self.revived: list[RevivedSession] = []
        self.loads = 0
        node.carry(self.dump, self.load)
        node.on_revive(self.revived.append)

    async def dump(self, session: MovingSession) -> bytes | None:
        return self.of.get(session.id)

    def load(self, session: RevivedSession, data: bytes) -> None:
        self.loads += 1
        self.of[session.id] = data


@contextlib.asynccontextmanager
async def remembering(raw: RawClient, count: int = 3, **settings: Any) -> AsyncIterator[tuple[Nodes, list[Memory]]]:
    async with some_nodes(raw, count, ingress_seconds=0, **settings) as nodes:
        yield nodes, [Memory(one.mooring) for one in nodes.running]


def node_of(nodes: Nodes, session: str) -> int:
    [index] = nodes.lives_at(session)
    return index


async def gone_from_record(nodes: Nodes, session: str) -> None:
    async def is_gone() -> bool:
        return await nodes.store.inner.journal.carried(session) is None

    await until(is_gone, what="the dump to be removed")


async def away() -> None:
    raise StoreUnavailable("away for one call")


async def test_it_goes_along_from_node_to_node_each_time(raw: RawClient) -> None:
    async with remembering(raw) as (nodes, memories):
        sessions = [await nodes.open() for _ in range(6)]
        for number, session in enumerate(sessions):
            memories[0].of[session] = b"%d \x00\xff" % number
        await nodes.running[0].mooring.drain()
        for number, session in enumerate(sessions):
            assert (await nodes.ping(session, 1)).status == 200
            memory = memories[node_of(nodes, session)]
            assert memory.of[session] == b"%d \x00\xff" % number
            assert memory.revived[-1].is_loaded
            assert await nodes.store.journal.carried(session) is None
        await nodes.running[1].mooring.drain()
        for session in sessions:
            assert (await nodes.ping(session, 2)).status == 200
        assert {session: memories[2].of[session] for session in sessions} == {
            session: b"%d \x00\xff" % number for number, session in enumerate(sessions)
        }


async def test_one_that_nobody_uses_while_two_nodes_are_replaced_is_loaded_by_the_third(raw: RawClient) -> None:
    async with remembering(raw) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.running[0].mooring.drain()
        await nodes.running[1].mooring.drain()
        assert (await nodes.ping(session, 2)).status == 200
        assert (memories[2].of, memories[2].loads) == ({session: b"kept"}, 1)


async def test_after_a_crash_nothing_is_loaded_however_fresh(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.give(session)
        await nodes.running[1].vanish()
        await nodes.store.inner.bury(nodes.running[1].id)
        assert (await nodes.ping(session, 2)).status == 200
        memory = memories[node_of(nodes, session)]
        assert (memory.loads, [one.is_loaded for one in memory.revived]) == (0, [False])


async def test_what_was_dumped_for_a_move_that_came_to_nothing_is_never_loaded(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"

        async def dies() -> None:
            await nodes.store.inner.bury(nodes.running[1].id)

        nodes.store.before["give"] = dies
        assert not await nodes.give(session)
        await gone_from_record(nodes, session)
        assert (await nodes.ping(session)).status == 200
        memories[0].of[session] = b"new"
        async with running_node(ScriptedApp(), nodes.store, "node-3") as third:
            memory = Memory(third.mooring)
            third_node: Node = third.mooring._node
            await nodes.node(0).keeper.look()
            await nodes.running[0].mooring.drain()
            assert (await raw.call(third.url, session)).status == 200
            assert third_node.sessions.find(session) is not None
            assert memory.of == {session: b"new"}


@pytest.mark.parametrize("what", ["raises", "hangs", "too large", "no bytes", "nothing"])
async def test_a_session_whose_dump_fails_moves_without(
    raw: RawClient, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def dump(session: MovingSession) -> Any:
        if what == "raises":
            raise ValueError("no way to write a socket down")
        if what == "hangs":
            await asyncio.Event().wait()
        return {"too large": bytes(2000), "no bytes": "text", "nothing": None}[what]

    async with remembering(raw, 2, carry_bytes=1024, carry_seconds=0.05) as (nodes, memories):
        session = await nodes.open()
        nodes.running[0].mooring.carry(dump, memories[0].load)
        await nodes.running[0].mooring.drain()
        assert (await nodes.ping(session, 1)).status == 200
        assert nodes.lives_at(session) == [1]
        assert memories[1].loads == 0
    assert ("moves without" in caplog.text) == (what != "nothing")


@pytest.mark.parametrize("what", ["raises", "hangs"])
async def test_a_version_that_cannot_load_what_the_last_one_dumped_goes_on_without(
    raw: RawClient, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def load(session: RevivedSession, data: bytes) -> None:
        if what == "raises":
            raise ValueError("a format of long ago")
        await asyncio.Event().wait()

    async with remembering(raw, 2, carry_seconds=0.05) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        nodes.running[1].mooring.carry(memories[1].dump, load)
        await nodes.running[0].mooring.drain()
        replies = await asyncio.gather(*(nodes.ping(session, 1) for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert [one.is_loaded for one in memories[1].revived] == [False]
        assert await nodes.store.journal.carried(session) is None
    assert "goes on without what was dumped" in caplog.text


async def test_while_the_store_is_away_nothing_moves_and_nothing_is_lost(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        nodes.store.away = True
        draining = asyncio.create_task(nodes.running[0].mooring.drain())
        await once(lambda: nodes.node(0).membership.state == "draining", what="the node to drain")
        assert (await nodes.ping(session)).status == 200
        nodes.store.away = False
        await draining
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


async def test_a_session_that_ends_takes_its_dump_along(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.running[0].mooring.drain()
        assert await nodes.store.journal.carried(session) is not None
        assert (await raw.send("DELETE", f"{nodes.running[1].url}/mcp", session=session)).status in (200, 204)
        assert await nodes.store.journal.carried(session) is None
        assert memories[1].loads == 0


async def test_a_revival_that_fails_at_its_last_step_keeps_the_dump_for_the_next_try(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        await nodes.running[0].mooring.drain()
        nodes.store.before["save_session"] = away
        real = nodes.node(1).may_open
        outcomes = [False, True]

        async def may_open(shard: str) -> bool:
            return await real(shard) and outcomes.pop(0)

        nodes.node(1).may_open = may_open  # type: ignore[method-assign]
        assert (await nodes.ping(session, 1)).reason == "unreachable"
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}
        assert [one.is_loaded for one in memories[1].revived] == [True, True]
        await gone_from_record(nodes, session)


async def test_what_could_not_be_removed_after_it_was_loaded_is_not_loaded_into_a_later_life(raw: RawClient) -> None:
    async with remembering(raw, 3) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"first"
        await nodes.running[0].mooring.drain()
        nodes.store.before["carry"] = away
        at = 1
        assert (await nodes.ping(session, at)).status == 200
        at = node_of(nodes, session)
        assert memories[at].of == {session: b"first"}
        assert await nodes.store.journal.carried(session) is not None
        memories[at].of.clear()  # the app dropped it by itself: there is nothing to dump any more
        await nodes.running[at].mooring.drain()
        other = 3 - at
        assert (await nodes.ping(session, other)).status == 200
        assert memories[other].loads == 0


async def test_what_is_outdated_is_removed_before_the_shard_is_given(raw: RawClient) -> None:
    """Also where the session sleeps by then, so that nobody dumps it anew."""
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"

        async def away_for_a_while() -> None:
            nodes.store.away = True
            raise StoreUnavailable("away from now on")

        nodes.store.before["give"] = away_for_a_while
        giving = asyncio.create_task(nodes.give(session))
        await once(lambda: nodes.store.away, what="the store to go away")
        giving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await giving
        nodes.store.away = False
        assert await nodes.store.journal.carried(session) is not None  # it may be the next owner's to load
        memories[0].of.clear()
        assert await nodes.give(session)
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].loads == 0


async def test_a_shard_whose_gift_nobody_knows_of_keeps_its_dump(raw: RawClient) -> None:
    async with remembering(raw, 2, hold_seconds=0.2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"

        async def away_for_a_while() -> None:
            nodes.store.away = True

        nodes.store.after["give"] = away_for_a_while
        nodes.store.before["snapshot"] = away
        giving = asyncio.create_task(nodes.give(session))
        await once(lambda: nodes.store.away, what="the store to go away")
        giving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await giving
        nodes.store.away = False
        await nodes.node(0).sessions.settle()
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


async def test_what_is_asked_meanwhile_need_not_wait_for_what_is_removed(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"old"
        removes, may_go_on = asyncio.Event(), asyncio.Event()

        async def dies() -> None:
            nodes.store.before["carry"] = slow
            await nodes.store.inner.bury(nodes.running[1].id)

        async def slow() -> None:
            removes.set()
            await may_go_on.wait()

        nodes.store.before["give"] = dies
        assert not await nodes.give(session)
        await removes.wait()
        assert (await nodes.ping(session)).status == 200
        assert nodes.lives_at(session) == [0]
        may_go_on.set()
        await gone_from_record(nodes, session)


async def test_nothing_is_dumped_of_a_session_whose_call_does_not_end(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session, quiet = await nodes.open(), await nodes.open()
        while nodes.shard_of(quiet) != nodes.shard_of(session):
            quiet = await nodes.open()
        memories[0].of |= {session: b"half of it", quiet: b"whole"}
        ends = asyncio.Event()

        async def never_mind(scope: Any, body: bytes, send: Any) -> None:
            while not ends.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ends.wait()

        nodes.apps[0].on_session = never_mind
        calling = asyncio.create_task(nodes.ping(session))
        await once(lambda: nodes.hand_over().is_busy(nodes.shard_of(session)), what="the call to run")
        assert await nodes.give(session, 0.0, cuts_off=True)
        ends.set()
        await asyncio.gather(calling, return_exceptions=True)
        for one in (session, quiet):
            assert (await nodes.ping(one, 1)).status == 200
        assert memories[1].of == {quiet: b"whole"}
    assert "calls still ran in them, and were cut off (drain_seconds)" in caplog.text


async def test_all_dumps_of_a_shard_have_a_bound_together(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    dumped = []

    async def dump(session: MovingSession) -> bytes:
        dumped.append(session.id)
        await asyncio.sleep(0.15)
        return b"kept"

    async with remembering(raw, 2, shards=1, carry_seconds=0.2, hold_seconds=0.4) as (nodes, memories):
        for _ in range(40):
            await nodes.open()
        nodes.running[0].mooring.carry(dump, memories[0].load)
        await nodes.running[0].mooring.drain()
        assert 8 <= len(dumped) <= 16
    assert caplog.text.count("all that is dumped of a shard may take 0.2 s") == 1


async def test_a_session_that_another_node_has_by_now_stops_its_shards_gift(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        record = await nodes.store.load_session(session)
        assert record is not None
        touch = Touch(session, record.epoch + 1, record.last_seen)
        await nodes.store.inner.touch_sessions([touch], 60)
        assert not await nodes.give(session)
    assert "seems to be another node's" in caplog.text


async def test_a_record_that_the_store_lost_is_written_again_with_its_dump(raw: RawClient) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        memories[0].of[session] = b"kept"
        nodes.store.inner._sessions.pop(session)  # type: ignore[attr-defined]
        assert await nodes.give(session)
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_whatever_is_bytes_will_do(raw: RawClient, kind: Any) -> None:
    async with remembering(raw, 2) as (nodes, memories):
        session = await nodes.open()
        nodes.running[0].mooring.carry(lambda _: kind(b"kept"), memories[0].load)
        await nodes.running[0].mooring.drain()
        assert (await nodes.ping(session, 1)).status == 200
        assert memories[1].of == {session: b"kept"}
