from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from mooring.core.model import NodeInfo
from mooring.node.membership.pulse import Pulse
from mooring.store import MemoryStore
from tests.core.views import ME, a_node
from tests.fakes import Clock, FlakyStore

HEARTBEAT_SECONDS, LEASE_SECONDS, HANG_SECONDS = 1.0, 3.0, 30.0
NODE: NodeInfo = a_node(ME)


class World:
    """One node's lease, and the pulse that keeps it while nothing beats."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.memory = MemoryStore(self.clock)
        self.store = FlakyStore(self.memory)
        self.pulse = Pulse(
            lambda: self.store,
            NODE.id,
            heartbeat_seconds=HEARTBEAT_SECONDS,
            lease_seconds=LEASE_SECONDS,
            hang_seconds=HANG_SECONDS,
            now=self.clock,
        )

    async def beat(self) -> None:
        self.pulse.beat(await self.memory.register(NODE, LEASE_SECONDS))

    async def is_alive(self) -> bool:
        snapshot = await self.memory.snapshot()
        return snapshot.leases[NODE.id].until_ms > snapshot.now_ms

    async def stay_silent(self, seconds: float) -> None:
        for _ in range(round(2 * seconds)):
            self.clock.now += 0.5
            await self.pulse.look(self.store)


async def test_while_the_heart_beats_nothing_is_asked() -> None:
    world = World()
    for _ in range(20):
        await world.beat()
        await world.stay_silent(1.0)
    assert world.store.calls == []


async def test_a_busy_node_keeps_its_lease_and_the_next_beat_is_the_next_renewal() -> None:
    world = World()
    await world.beat()
    renewed_ms = (await world.memory.snapshot()).leases[NODE.id].renewed_ms
    await world.stay_silent(20)
    assert await world.is_alive()
    assert await world.memory.heartbeat(NODE, LEASE_SECONDS, renewed_ms, known=None) is not None


async def test_a_node_that_fell_silent_before_it_read_of_its_renewal_keeps_its_lease() -> None:
    world = World()
    await world.beat()
    renewed_ms = (await world.memory.snapshot()).leases[NODE.id].renewed_ms
    world.clock.now += HEARTBEAT_SECONDS
    assert await world.memory.heartbeat(NODE, LEASE_SECONDS, renewed_ms, known=None) is not None
    await world.stay_silent(20)
    assert await world.is_alive()


async def test_a_node_that_hangs_loses_its_lease_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.beat()
    await world.stay_silent(HANG_SECONDS + LEASE_SECONDS + 1)
    assert not await world.is_alive()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_lease_that_is_over_is_not_brought_back() -> None:
    world = World()
    await world.beat()
    world.clock.now += LEASE_SECONDS + 0.1
    await world.pulse.look(world.store)
    assert not await world.is_alive()


async def test_a_store_that_is_away_is_asked_again() -> None:
    world = World()
    await world.beat()
    world.clock.now += 2
    world.store.away = True
    await world.pulse.look(world.store)
    world.store.away = False
    await world.pulse.look(world.store)
    world.clock.now += 2
    assert await world.is_alive()


async def test_a_thread_that_is_told_to_stop_before_it_has_begun_ends() -> None:
    world, may_begin = World(), threading.Event()
    main = world.pulse._main

    def late() -> None:
        may_begin.wait(5)
        main()

    world.pulse._main = late  # type: ignore[method-assign]
    world.pulse.start()
    stopping = asyncio.create_task(asyncio.to_thread(world.pulse.stop))
    await asyncio.sleep(0)
    may_begin.set()
    await stopping
    assert world.pulse._thread is not None
    assert not world.pulse._thread.is_alive()
