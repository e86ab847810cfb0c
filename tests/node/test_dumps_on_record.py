"""What is on record for the next owner is removed when there is none, and nothing that was written later with it."""

from __future__ import annotations

import pytest

from mooring.core.model import Touch
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.dumps_on_record import DumpsOnRecord
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store import MemoryStore
from tests.fakes import FlakyStore

SHARD = "abcde"
EPOCH = 3


class World:
    """A node with a session that is on record."""

    def __init__(self) -> None:
        self.store = FlakyStore(MemoryStore())
        self.sessions = LocalSessions(self.store, "node-1-aaaaa", 600, 60)
        self.dumps = DumpsOnRecord(self.store, self.sessions, 600)

    async def session(self, name: str = "abcde.one") -> LocalSession:
        session = LocalSession(name, SHARD, name, 1.0, 1.0, 1.0, "", "", "", b"{}", EPOCH)
        await self.sessions.open(session)
        return session

    async def carried(self, session: LocalSession) -> tuple[int, bytes] | None:
        return await self.store.inner.journal.carried(session.id)


async def test_what_was_written_is_removed_where_the_shard_stays() -> None:
    world = World()
    session = await world.session()
    assert await world.dumps.write(session, b"data")
    assert world.dumps.has(session.id)
    assert world.dumps.shards() == {SHARD}
    await world.dumps.try_to_remove(world.dumps.of(SHARD))
    assert await world.carried(session) is None
    assert world.dumps.shards() == set()


async def test_what_was_given_is_left_alone() -> None:
    world = World()
    session = await world.session()
    await world.dumps.write(session, b"data")
    before = world.dumps.of(SHARD)
    world.dumps.forget(SHARD)
    await world.dumps.try_to_remove(before)
    assert await world.carried(session) == (0, b"data")


async def test_what_was_written_later_is_not_removed_for_what_was_there_before() -> None:
    world = World()
    session = await world.session()
    await world.dumps.write(session, b"old")
    before = world.dumps.of(SHARD)
    await world.dumps.write(session, b"new")
    await world.dumps.try_to_remove(before)
    assert await world.carried(session) == (0, b"new")


async def test_what_cannot_be_removed_is_kept_in_mind() -> None:
    world = World()
    one, other = await world.session("abcde.one"), await world.session("abcde.two")
    await world.dumps.write(one, b"data")
    await world.dumps.write(other, b"data")
    world.store.away = True
    await world.dumps.try_to_remove(world.dumps.of(SHARD))
    with pytest.raises(StoreUnavailable):
        await world.dumps.remove(world.dumps.of(SHARD))
    assert world.dumps.shards() == {SHARD}
    world.store.away = False
    await world.dumps.remove(world.dumps.of(SHARD))
    assert (await world.carried(one), await world.carried(other)) == (None, None)
    assert world.dumps.shards() == set()


async def test_a_write_of_which_nobody_knows_is_kept_in_mind() -> None:
    world = World()
    session = await world.session()

    async def lose() -> None:
        raise StoreUnavailable("lost on its way")

    world.store.after["carry"] = lose
    with pytest.raises(StoreUnavailable):
        await world.dumps.write(session, b"data")
    assert world.dumps.has(session.id)
    assert await world.carried(session) == (0, b"data")


async def test_a_later_owner_is_told_of_and_the_end_of_a_session_is_not() -> None:
    world = World()
    session = await world.session()
    await world.store.inner.touch_sessions([Touch(session.id, EPOCH + 1, 1.0)], 60)
    with pytest.raises(Fenced):
        await world.dumps.write(session, b"data")
    ended = await world.session("abcde.two")
    await world.sessions.close(ended.id)
    assert not await world.dumps.write(ended, b"data")


async def test_what_was_loaded_is_removed_by_the_one_that_lives_here() -> None:
    world = World()
    session = await world.session()
    await world.store.inner.journal.carry(session.id, EPOCH, 0, b"data", 60)
    world.store.away = True
    await world.dumps.loaded(session)
    assert world.dumps.has(session.id)
    world.store.away = False
    await world.dumps.loaded(session)
    assert await world.carried(session) is None
    assert not world.dumps.has(session.id)
