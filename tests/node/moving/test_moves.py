"""What an operator says to a node, and what a new peer means to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator

import pytest

from mooring.core.model import NodeState
from mooring.errors import StoreUnavailable
from mooring.node.moving.moves import SETTLE_SECONDS, Moves
from tests.cluster_in_process import running_node
from tests.fakes import Clock
from tests.node.apps import ScriptedApp
from tests.node.moving.nodes import Happening, Nodes, SlowCall, once, some_nodes
from tests.node.rpc import RawClient

HEARTBEAT_SECONDS = 0.1
"""Of nodes in tests."""


class WaitingClock(Clock):
    """Goes on while somebody waits, and no further than it may."""

    may_go_to = math.inf

    async def sleep(self, seconds: float) -> None:
        while self.now + seconds > self.may_go_to:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.now += seconds
        await asyncio.sleep(0.01)

    async def goes_by(self, seconds: float) -> None:
        self.may_go_to = self.now + seconds
        await once(lambda: self.may_go_to - self.now < HEARTBEAT_SECONDS, what=f"{seconds:g} s to go by")


@contextlib.asynccontextmanager
async def moving(nodes: Nodes, at: int = 0) -> AsyncIterator[WaitingClock]:
    """While this node does what it is told."""
    clock = WaitingClock()
    running = asyncio.create_task(Moves(nodes.node(at), clock.sleep, clock).run())
    try:
        yield clock
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_node_that_is_told_to_drain_does_and_goes_on_passing_requests(raw: RawClient) -> None:
    async with some_nodes(raw) as nodes, moving(nodes):
        session = await nodes.open()
        await nodes.store.order(nodes.running[0].id, "drain", 60)
        await once(lambda: not nodes.node(0).membership.shards, what="the shards to be gone")
        assert nodes.node(0).membership.state is NodeState.DRAINING
        assert (await nodes.ping(session)).status == 200
        assert (await nodes.raw.send("GET", f"{nodes.running[0].url}/healthz")).status == 200


@pytest.mark.parametrize(
    ("when", "call"), [("after", "order_for"), ("before", "heard_order"), ("after", "heard_order")]
)
async def test_a_word_is_heard_though_the_store_is_silent_as_it_is_read(raw: RawClient, when: str, call: str) -> None:
    async def fails() -> None:
        raise StoreUnavailable("away for one call")

    async with some_nodes(raw) as nodes, moving(nodes):
        hooks: dict[str, Happening] = getattr(nodes.store, when)
        await nodes.store.order(nodes.running[0].id, "drain", 60)
        hooks[call] = fails
        await once(lambda: not nodes.node(0).membership.shards, what="the shards to be gone")
        assert call not in hooks


async def test_it_rebalances_as_it_was_told_though_the_store_is_silent_as_it_begins(raw: RawClient) -> None:
    async def fails() -> None:
        raise StoreUnavailable("away for one call")

    async with some_nodes(raw, 1) as nodes, moving(nodes):
        for _ in range(32):
            await nodes.open()
        async with running_node(ScriptedApp(), nodes.store, "node-2") as other:
            node = nodes.node(0)
            await once(lambda: node.membership.view.is_alive(other.id), what="the peer to be known")
            nodes.store.before["snapshot"] = fails
            await nodes.store.order(nodes.running[0].id, "rebalance", 60)
            await once(lambda: len(node.sessions) == 16, what="half of the sessions to move")
            assert "snapshot" not in nodes.store.before


async def test_a_word_that_it_does_not_know_is_said_and_changes_nothing(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with some_nodes(raw) as nodes, moving(nodes):
        await nodes.store.order(nodes.running[0].id, "explode", 60)
        await once(lambda: "does not know" in caplog.text, what="a warning")
        assert nodes.node(0).membership.state is NodeState.READY
        assert "explode" not in caplog.text


async def test_it_goes_on_after_the_store_was_away(raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mooring.moving")
    async with some_nodes(raw) as nodes, moving(nodes):
        nodes.store.away = True
        await once(lambda: "does not say whether" in caplog.text, what="a failure")
        nodes.store.away = False
        await nodes.store.order(nodes.running[0].id, "drain", 60)
        await once(lambda: not nodes.node(0).membership.shards, what="the shards to be gone")


@pytest.mark.parametrize("what", ["idle_sessions", "new_sessions"])
async def test_after_a_peer_was_added_idle_sessions_move_where_the_author_says_so(what: str, raw: RawClient) -> None:
    async with some_nodes(raw, 1, rebalance=what) as nodes, moving(nodes) as clock:
        sessions = [await nodes.open() for _ in range(32)]
        await clock.goes_by(1)  # it knows who is there
        async with running_node(ScriptedApp(), nodes.store, "node-2") as other:
            node = nodes.node(0)
            await once(lambda: node.membership.view.is_alive(other.id), what="the peer to be known")
            await clock.goes_by(SETTLE_SECONDS - HEARTBEAT_SECONDS)
            assert len(node.sessions) == 32
            if what == "new_sessions":
                await clock.goes_by(4 * SETTLE_SECONDS)
                assert len(node.sessions) == 32
            else:
                clock.may_go_to = math.inf
                await once(lambda: len(node.sessions) == 16, what="half of the sessions to move")
            for session in sessions:
                assert (await nodes.ping(session)).status == 200


async def test_what_was_busy_when_a_peer_was_added_moves_once_it_is_not(raw: RawClient) -> None:
    async with some_nodes(raw, 1, rebalance="idle_sessions") as nodes, moving(nodes) as clock:
        sessions = [await nodes.open() for _ in range(32)]
        await clock.goes_by(1)
        slow = SlowCall(nodes.apps[0])
        calls = [asyncio.create_task(nodes.ping(session)) for session in sessions]
        await slow.has_begun.wait()
        async with running_node(ScriptedApp(), nodes.store, "node-2") as other:
            node = nodes.node(0)
            await once(lambda: node.membership.view.is_alive(other.id), what="the peer to be known")
            await clock.goes_by(SETTLE_SECONDS + 2)
            assert len(node.sessions) == 32
            slow.may_end.set()
            assert [reply.status for reply in await asyncio.gather(*calls)] == [200] * 32
            clock.may_go_to = math.inf
            await once(lambda: len(node.sessions) == 16, what="half of the sessions to move")


async def test_what_was_dumped_for_nothing_is_removed_once_the_store_answers(raw: RawClient) -> None:
    async with some_nodes(raw) as nodes:
        nodes.running[0].mooring.carry(lambda session: b"kept", lambda session, data: None)
        session = await nodes.open()

        async def fail() -> None:
            raise StoreUnavailable("away for once")

        await nodes.give_in_vain(session, fail)
        await nodes.node(0).sessions.settle()
        assert await nodes.store.journal.carried(session) is not None
        async with moving(nodes):
            await once(lambda: not nodes.node(0).carrying.doubtful_shards, what="the dump to be removed")
        assert await nodes.store.journal.carried(session) is None
