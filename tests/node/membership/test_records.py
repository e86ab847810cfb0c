"""Everything again, where it is much: it goes on where it stood, and no node begins when all do."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store import MemoryStore, RedisStore, Store
from tests.fakes import Clock, FlakyStore
from tests.real_redis import SERVERS, Flavour, real_redis
from tests.store.examples import SEALS

BATCH = 500


class World:
    """A node with very many sessions, all on record; the store then lost them all."""

    def __init__(self, sessions: int, store: Store | None = None) -> None:
        self.clock = Clock(1_000_000.0)
        self.store = FlakyStore(MemoryStore(self.clock))
        self.sessions = LocalSessions(store or self.store, "node-1-aaaaa", 600, 60, self.clock)
        now = self.clock.now
        for number in range(sessions):
            session_id = f"aaaaa.{number:05d}"
            session = LocalSession(session_id, "aaaaa", session_id, now, now, now, "", "", "", b"")
            self.sessions._sessions[session_id] = session

    @property
    def records(self) -> set[str]:
        return set(self.store.inner._sessions)  # type: ignore[attr-defined]

    async def flush(self, batches: int | None = None) -> None:
        """Until the store is away again, after so many batches."""
        self.store.away, self.store.takes = False, batches
        await self.sessions.records.flush()


async def begun(world: World) -> None:
    """The time has come at which this node begins."""
    world.sessions.records.write_all_again(from_the_start=True)
    world.clock.now += 1.0


async def test_it_goes_on_where_it_stood_when_the_store_failed_on_the_way() -> None:
    world = World(10 * BATCH)
    await begun(world)
    with pytest.raises(StoreUnavailable):
        await world.flush(batches=6)
    assert len(world.records) == 6 * BATCH
    world.clock.now += 3600
    world.sessions.records.write_all_again(from_the_start=False)
    world.store.calls.clear()
    await world.flush()
    assert world.records == set(world.sessions._sessions)
    # Those of the last half minute before the failure may be lost with a primary: here it is all six.
    assert world.store.calls == ["save_sessions"] * 10


async def test_what_was_written_long_before_the_failure_stays_written() -> None:
    world = World(10 * BATCH)
    await begun(world)

    async def much_later() -> None:
        world.clock.now += 31
        world.store.before["save_sessions"] = much_later

    world.store.before["save_sessions"] = much_later
    with pytest.raises(StoreUnavailable):
        await world.flush(batches=3)
    world.store.before.clear()
    world.store.calls.clear()
    await world.flush()
    assert world.records == set(world.sessions._sessions)
    assert world.store.calls == ["save_sessions"] * 8  # the third is too fresh to be sure of


async def test_a_store_that_has_lost_something_again_gets_everything_again() -> None:
    world = World(4 * BATCH)
    await begun(world)
    with pytest.raises(StoreUnavailable):
        await world.flush(batches=3)
    world.store.inner = MemoryStore(world.clock)
    await begun(world)
    await world.flush()
    assert world.records == set(world.sessions._sessions)


async def test_what_was_on_its_way_when_the_store_lost_something_again_is_written_again() -> None:
    world = World(4 * BATCH)
    await begun(world)
    written = 0

    async def lost_after_two() -> None:
        nonlocal written
        written += 1
        if written < 3:
            world.store.before["save_sessions"] = lost_after_two
        else:  # what was written so far, and what is under way, went to a server that another one has replaced
            world.sessions.records.write_all_again(from_the_start=True)

    world.store.before["save_sessions"] = lost_after_two
    await world.flush()
    assert world.store.calls.count("save_sessions") == 3 + 4
    world.store.calls.clear()
    await world.flush()
    assert world.store.calls == []


@pytest.mark.parametrize("ends", ["let go", "let go and closed", "let go and fenced"])
async def test_one_that_its_app_ends_before_it_is_on_record_is_written_all_the_same(ends: str) -> None:
    world = World(1)
    session = world.sessions.living()[0]
    world.store.away = True
    await world.sessions.open(session)
    await world.sessions.let_go(session)
    if ends == "let go and closed":
        await world.sessions.records.remove(session.id, session.epoch)
    elif ends == "let go and fenced":
        world.sessions.fence(session.shard)
    await world.flush()
    assert world.records == ({session.id} if ends == "let go" else set())
    await world.flush()
    assert world.store.calls.count("save_sessions") == (ends == "let go")


async def test_what_comes_into_doubt_while_its_batch_is_written_is_written_again() -> None:
    world = World(2)
    doubtful, other = world.sessions.living()
    other.state.is_kept(b'{"own":{"a":1}}')
    await begun(world)

    async def fail() -> None:
        doubtful.state.is_in_doubt = True
        world.sessions.records.write_later(doubtful)

    world.store.before["commit"] = fail  # of the other one's state, when the first one's turn is over
    await world.flush()
    await world.flush()
    assert not doubtful.state.is_in_doubt


@pytest.mark.parametrize("flavour", SERVERS)
async def test_the_next_life_of_a_session_is_not_written_over_with_the_last_one(flavour: Flavour) -> None:
    async with real_redis(flavour) as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        world = World(450, store)
        last = world.sessions.living()[-1]
        await begun(world)
        flushing = asyncio.create_task(world.flush())
        await asyncio.sleep(0)
        world.sessions.let_go_soon(last)
        await world.sessions.open(replace(last, incarnation=1))
        await flushing
        record = await store.load_session(last.id)
        assert record is not None
        assert record.incarnation == 1
        await world.sessions.settle()
        await store.aclose()


@pytest.mark.parametrize("flavour", SERVERS)
async def test_what_is_written_while_all_is_written_again_is_not_written_over(flavour: Flavour) -> None:
    async with real_redis(flavour) as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        world = World(450, store)  # more than go to Redis together
        last = world.sessions.living()[-1]
        await begun(world)
        flushing = asyncio.create_task(world.flush())
        await asyncio.sleep(0)
        await world.sessions.take_over(last, "whoever signed in")
        await flushing
        record = await store.load_session(last.id)
        assert record is not None
        assert record.principal == "whoever signed in"
        await store.aclose()


async def test_nodes_begin_at_different_moments_where_it_is_much() -> None:
    waits = set()
    for _ in range(20):
        world = World(BATCH + 1)
        world.sessions.records.write_all_again(from_the_start=True)
        for hundredth in range(101):
            await world.flush()
            if world.records:
                waits.add(hundredth)
                break
            world.clock.now += 0.01
    assert len(waits) > 5
    assert max(waits) <= 100


async def test_what_is_little_is_written_at_once() -> None:
    world = World(BATCH)
    world.sessions.records.write_all_again(from_the_start=True)
    await world.flush()
    assert len(world.records) == BATCH


async def test_what_is_due_of_some_sessions_is_written_before_they_move() -> None:
    world = World(3)
    one, *others = world.sessions.living()
    world.store.away = True
    await world.sessions.take_over(one, "alice")
    with pytest.raises(StoreUnavailable):
        await world.sessions.records.write_due_of([one, *others])
    world.store.away = False
    await world.sessions.records.write_due_of([one, *others])
    assert world.records == {one.id}
    world.store.calls.clear()
    await world.sessions.records.write_due_of(others)
    assert world.store.calls == []


async def test_what_was_to_be_written_for_whoever_has_left_is_written_all_the_same() -> None:
    """Some servers cancel the request of a client that leaves: it had opened the session again, or signed in to it."""
    world, is_asked = World(1), asyncio.Event()

    async def hang() -> None:
        is_asked.set()
        await asyncio.Event().wait()

    world.store.before["save_session"] = hang
    [session] = world.sessions.living()
    writing = asyncio.create_task(world.sessions.take_over(session, "alice"))
    await is_asked.wait()
    writing.cancel()
    await asyncio.wait({writing})
    await world.flush()
    record = await world.store.load_session(session.id)
    assert record is not None
    assert record.principal == "alice"


async def test_it_is_so_also_while_the_record_is_being_written_with_others() -> None:
    world, is_asked = World(2), asyncio.Event()
    [session, _] = world.sessions.living()

    async def hang() -> None:
        is_asked.set()
        await asyncio.Event().wait()

    async def sign_in_and_leave() -> None:
        world.store.before["save_session"] = hang
        writing = asyncio.create_task(world.sessions.take_over(session, "alice"))
        await is_asked.wait()
        writing.cancel()
        await asyncio.wait({writing})

    world.sessions.records.write_all_again(from_the_start=True)
    world.store.before["save_sessions"] = sign_in_and_leave
    await world.flush()
    await world.flush()
    record = await world.store.load_session(session.id)
    assert record is not None
    assert record.principal == "alice"
