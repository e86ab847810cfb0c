"""What an app keeps of a session in memory goes along when its node gives it away, and never comes after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mooring import MovingSession, RevivedSession
from mooring.node.node import Node
from tests.cluster_in_process import running_node
from tests.node.apps import ScriptedApp
from tests.node.moving.nodes import Nodes, once, some_nodes
from tests.node.rpc import RawClient


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
        assert await nodes.store.journal.carried(session) is None
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
