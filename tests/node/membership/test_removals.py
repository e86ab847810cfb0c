from __future__ import annotations

import asyncio

import pytest

from mooring.errors import StoreUnavailable
from mooring.node.membership.removals import Removals
from mooring.store import MemoryStore
from tests.fakes import Clock, FlakyStore
from tests.store.examples import RECORD


class World:
    def __init__(self) -> None:
        self.clock = Clock()
        self.memory = MemoryStore(self.clock)
        self.store = FlakyStore(self.memory)
        self.removals = Removals(self.store, self.clock)

    async def there_is_a_record(self) -> None:
        """As an old copy of the store has it, which knows of no removal."""
        self.memory._removed.clear()
        await self.memory.save_session(RECORD, 600)

    async def is_there(self) -> bool:
        return await self.memory.load_session(RECORD.id) is not None


@pytest.fixture
def world() -> World:
    return World()


async def test_removing_says_whether_there_was_a_record(world: World) -> None:
    await world.there_is_a_record()
    assert await world.removals.remove(RECORD.id, RECORD.epoch)
    assert not await world.removals.remove(RECORD.id, RECORD.epoch)
    assert not world.removals.is_due(RECORD.id)


async def test_what_could_not_be_removed_is_due_until_it_is(world: World) -> None:
    await world.there_is_a_record()
    world.store.away = True
    for attempt in (world.removals.remove(RECORD.id, RECORD.epoch), world.removals.catch_up()):
        with pytest.raises(StoreUnavailable):
            await attempt
        assert world.removals.is_due(RECORD.id)
    world.store.away = False
    await world.removals.catch_up()
    assert not world.removals.is_due(RECORD.id)
    assert not await world.is_there()


async def test_what_was_removed_lately_is_removed_again_from_an_old_copy(world: World) -> None:
    await world.there_is_a_record()
    await world.removals.remove(RECORD.id, RECORD.epoch)
    world.clock.now += 29
    world.removals.forget_old()
    await world.there_is_a_record()
    await world.removals.repeat()
    assert not await world.is_there()
    world.clock.now += 2
    world.removals.forget_old()
    await world.there_is_a_record()
    await world.removals.repeat()
    assert await world.is_there()


async def test_a_session_that_is_opened_again_is_not_removed_for_an_earlier_one(world: World) -> None:
    await world.removals.remove(RECORD.id, RECORD.epoch)
    world.store.away = True
    with pytest.raises(StoreUnavailable):
        await world.removals.remove(RECORD.id, RECORD.epoch)
    world.store.away = False
    world.removals.opened(RECORD.id)
    await world.there_is_a_record()
    await world.removals.catch_up()
    await world.removals.repeat()
    assert await world.is_there()


async def test_what_was_to_be_removed_for_whoever_has_left_is_removed_all_the_same() -> None:
    """Some servers cancel the request of a client that leaves."""
    store, is_asked = FlakyStore(MemoryStore()), asyncio.Event()

    async def hang() -> None:
        is_asked.set()
        await asyncio.Event().wait()

    store.before["delete_session"] = hang
    removals = Removals(store, Clock())
    removing = asyncio.create_task(removals.remove("a session", 1))
    await is_asked.wait()
    removing.cancel()
    await asyncio.wait({removing})
    assert removals.is_due("a session")
    await removals.catch_up()
    assert not removals.is_due("a session")
    assert store.calls == ["delete_session"] * 2
