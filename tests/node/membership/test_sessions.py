from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.model import SessionRecord
from mooring.errors import StoreUnavailable
from mooring.node.membership import inner_ids
from mooring.node.membership import sessions as membership_sessions
from mooring.node.membership.session import ClosedSession, LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.store import MemoryStore
from tests.fakes import Clock, FlakyStore

NODE = "node-1-aaaaa"
TTL_SECONDS = 600
TOUCH_SECONDS = 60
SHARD = "abcde"
OTHER_SHARD = "fghij"


class World:
    """The sessions of one node, their store, and who was told of which end."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.memory = MemoryStore(self.clock)
        self.store = FlakyStore(self.memory)
        self.sessions = LocalSessions(self.store, NODE, TTL_SECONDS, TOUCH_SECONDS, self.clock)
        self.closed: list[ClosedSession] = []
        self.sessions.add_close_handler(self.closed.append)

    def a_session(self, name: str, shard: str = SHARD, **said: Any) -> LocalSession:
        now = self.clock.now
        known: dict[str, Any] = {
            "inner_id": name,
            "created": now,
            "last_seen": now,
            "touched": now,
            "principal": '["iss","sub",null]',
            "protocol": "2025-11-25",
            "client": "test 1",
            "initialize": b"{}",
        }
        return LocalSession(id=name, shard=shard, **known | said)

    async def open(self, *names: str, shard: str = SHARD) -> None:
        for name in names:
            await self.sessions.open(self.a_session(name, shard))

    def see(self, name: str) -> None:
        session = self.sessions.find(name)
        assert session is not None
        session.last_seen = self.clock.now

    def lose(self, *names: str) -> None:
        """The store lost these records: nobody removed them."""
        for name in names:
            del self.memory._sessions[name]

    async def records(self) -> dict[str, SessionRecord]:
        return {record.id: record async for record in self.store.inner.sessions()}


async def write_all_again(sessions: LocalSessions) -> None:
    sessions.records.write_all_again(from_the_start=True)
    await sessions.records.flush()


@pytest.fixture
def world() -> World:
    return World()


# Opening.


async def test_a_session_is_on_record_before_its_opening_returns(world: World) -> None:
    session = world.a_session("one")
    await world.sessions.open(session)
    assert world.sessions.find("one") is session
    assert len(world.sessions) == 1
    assert await world.records() == {
        "one": SessionRecord(
            "one",
            NODE,
            1_000.0,
            1_000.0,
            '["iss","sub",null]',
            "2025-11-25",
            "test 1",
            b"{}",
            homes=((NODE, 1_000.0),),
        )
    }


async def test_a_session_opens_while_the_store_is_away_and_is_on_record_once_it_is_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.store.away = True
    await world.open("a-long-session-id")
    assert world.sessions.find("a-long-session-id") is not None
    assert "not on record until the store is back" in caplog.text
    assert "a-long-session-id" not in caplog.text
    with pytest.raises(StoreUnavailable):
        await world.sessions.records.flush()
    assert await world.records() == {}
    world.store.away = False
    await world.sessions.records.flush()
    assert set(await world.records()) == {"a-long-session-id"}


async def test_what_was_written_once_is_not_written_again(world: World) -> None:
    world.store.away = True
    await world.open("one")
    world.store.away = False
    await world.sessions.records.flush()
    world.store.calls.clear()
    await world.sessions.records.flush()
    assert world.store.calls == []


async def test_a_request_on_a_session_asks_the_store_nothing(world: World) -> None:
    await world.open("one")
    world.store.calls.clear()
    world.see("one")
    assert world.sessions.find("one") is not None
    assert world.sessions.find("none") is None
    assert world.store.calls == []


async def test_a_session_that_opens_unsaved_during_a_flush_is_saved_by_the_next(world: World) -> None:
    world.store.away = True
    await world.open("one")
    world.store.away = False

    async def open_while_away() -> None:
        world.store.away = True
        await world.open("two")
        world.store.away = False

    world.store.after["save_sessions"] = open_while_away
    await world.sessions.records.flush()
    await world.sessions.records.flush()
    assert set(await world.records()) == {"one", "two"}


# Closing.


async def test_closing_removes_the_record_and_then_tells(world: World) -> None:
    await world.open("one", "two")
    session = world.sessions.find("one")
    assert session is not None
    session.ends_as = "deleted"
    seen: list[set[str]] = []

    async def handler(_: ClosedSession) -> None:
        seen.append(set(await world.records()))

    world.sessions.add_close_handler(handler)
    await world.sessions.close("one")
    assert world.sessions.find("one") is None
    assert seen == [{"two"}]
    assert world.closed == [ClosedSession("one", "deleted", '["iss","sub",null]')]


async def test_closing_twice_tells_once(world: World) -> None:
    await world.open("one")
    await asyncio.gather(*(world.sessions.close("one") for _ in range(3)))
    await world.sessions.close("one")
    await world.sessions.close("never")
    assert [closed.id for closed in world.closed] == ["one"]


async def test_who_closes_second_sees_the_record_gone_all_the_same(world: World) -> None:
    await world.open("one")
    seen: list[set[str]] = []

    async def second() -> None:
        await world.sessions.close("one")
        seen.append(set(await world.records()))

    async def start_the_second() -> None:
        tasks.append(asyncio.create_task(second()))
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == []

    tasks: list[asyncio.Task[None]] = []
    world.store.before["delete_session"] = start_the_second
    await world.sessions.close("one")
    await asyncio.gather(*tasks)
    assert seen == [set()]
    assert [closed.id for closed in world.closed] == ["one"]


async def test_a_session_that_is_closed_soon_is_closed_once_all_is_settled(world: World) -> None:
    await world.open("one", "two")
    world.sessions.close_soon("one")
    world.sessions.close_soon("never")
    assert world.sessions.find("one") is not None
    await world.sessions.settle()
    assert set(await world.records()) == {"two"}
    assert [closed.id for closed in world.closed] == ["one"]
    await world.sessions.settle()


async def test_settling_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers are the author's code, and a node that stops has to stop."""
    monkeypatch.setattr(membership_sessions, "_SETTLE_SECONDS", 0.01)
    forever = asyncio.Event()

    async def hangs(_: ClosedSession) -> None:
        await forever.wait()

    world.sessions.add_close_handler(hangs)
    await world.open("one")
    world.sessions.close_soon("one")
    await asyncio.wait_for(world.sessions.settle(), 5)
    assert await world.records() == {}
    forever.set()
    await world.sessions.settle()


async def test_a_session_ends_by_itself_where_nothing_else_is_said(world: World) -> None:
    await world.open("one")
    await world.sessions.close("one")
    assert [closed.reason for closed in world.closed] == ["ended"]


async def test_closing_while_the_store_is_away_removes_the_record_later(world: World) -> None:
    await world.open("one", "two")
    world.store.away = True
    await world.sessions.close("one")
    assert [closed.id for closed in world.closed] == ["one"]
    with pytest.raises(StoreUnavailable):
        await world.sessions.records.flush()
    assert set(await world.records()) == {"one", "two"}
    world.store.away = False
    await world.sessions.records.flush()
    assert set(await world.records()) == {"two"}


async def test_records_that_could_not_be_removed_are_each_removed_in_the_end(world: World) -> None:
    await world.open("one", "two", "three")
    world.store.away = True
    for name in ("one", "two", "three"):
        await world.sessions.close(name)
    for _ in range(2):
        world.store.away, world.store.takes = False, 1
        with pytest.raises(StoreUnavailable):
            await world.sessions.records.flush()
    world.store.away, world.store.takes = False, None
    await world.sessions.records.flush()
    assert await world.records() == {}


async def test_a_session_that_opened_and_closed_while_the_store_was_away_never_was(world: World) -> None:
    world.store.away = True
    await world.open("one")
    await world.sessions.close("one")
    world.store.away = False
    await world.sessions.records.flush()
    assert await world.records() == {}


async def test_the_app_is_not_asked_any_more_how_a_closed_session_ends(world: World) -> None:
    await world.open("one", "two")
    for name in ("one", "two"):
        inner_ids.on_end(name, lambda _: None)
    await world.sessions.close("one")
    world.sessions.fence(SHARD)
    await world.sessions.settle()
    assert not {"one", "two"} & set(inner_ids._when_ended)


async def test_forgetting_says_whether_there_was_a_record(world: World) -> None:
    await world.open("one")
    assert await world.sessions.records.remove("one", 9) is True
    assert await world.sessions.records.remove("one", 9) is False
    world.store.away = True
    assert await world.sessions.records.remove("two", 9) is False


async def test_a_record_of_another_node_is_forgotten_once_the_store_is_back(world: World) -> None:
    await world.store.inner.save_session(world.a_session("theirs").record("node-2-aaaaa"), TTL_SECONDS)
    world.store.away = True
    await world.sessions.records.remove("theirs", 9)
    world.store.away = False
    await world.sessions.records.flush()
    assert await world.records() == {}


async def test_a_handler_that_fails_is_logged_and_the_next_is_told_all_the_same(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fails(_: ClosedSession) -> None:
        raise ValueError("the handler's own mistake")

    async def fails_later(_: ClosedSession) -> None:
        await asyncio.sleep(0)
        raise KeyError("the other handler's own mistake")

    async def notes(closed: ClosedSession) -> None:
        told.append(closed.id)

    for handler in (fails, fails_later, notes):
        world.sessions.add_close_handler(handler)
    await world.open("a-long-session-id")
    await world.sessions.close("a-long-session-id")
    assert told == ["a-long-session-id"]
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None for record in failures] == [True, True]
    assert all("on_close handler failed" in record.getMessage() for record in failures)
    assert all("a-long-session-id" not in record.getMessage() for record in failures)


async def test_a_handler_may_return_whatever_it_comes_to(world: World, caplog: pytest.LogCaptureFixture) -> None:
    kept = {"a-session": "its memory"}
    world.sessions.add_close_handler(lambda closed: kept.pop(closed.id))
    await world.open("a-session")
    await world.sessions.close("a-session")
    assert (kept, caplog.records) == ({}, [])


async def test_a_handler_that_waits_for_what_it_has_cancelled_fails_alone(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def end_its_work(_: ClosedSession) -> None:
        work = asyncio.ensure_future(asyncio.Event().wait())
        work.cancel()
        await work

    told: list[ClosedSession] = []
    world.sessions.add_close_handler(end_its_work)
    world.sessions.add_close_handler(told.append)
    await world.open("a-session")
    await world.sessions.close("a-session")
    assert [closed.id for closed in told] == ["a-session"]
    assert "on_close handler failed" in caplog.text


# Fencing.


async def test_fencing_drops_the_sessions_of_the_shard_and_leaves_their_records(world: World) -> None:
    await world.open("one", "two")
    await world.open("three", shard=OTHER_SHARD)
    world.sessions.fence(SHARD)
    await world.sessions.settle()
    assert world.sessions.find("one") is None
    assert world.sessions.find("three") is not None
    assert len(world.sessions) == 1
    assert {(closed.id, closed.reason) for closed in world.closed} == {("one", "fenced"), ("two", "fenced")}
    assert set(await world.records()) == {"one", "two", "three"}


async def test_the_records_of_fenced_sessions_are_never_written_again(world: World) -> None:
    """They are the new owner's, who may have changed them."""
    world.store.away = True
    await world.open("unsaved")
    world.store.away = False
    await world.open("touched")
    world.clock.now += TOUCH_SECONDS
    world.see("touched")
    world.sessions.fence(SHARD)
    await world.sessions.settle()
    world.store.calls.clear()
    await world.sessions.records.flush()
    await write_all_again(world.sessions)
    assert world.store.calls == []


async def test_a_session_that_is_closed_while_its_shard_is_fenced_is_told_of_once(world: World) -> None:
    await world.open("one", "two", "three")

    async def closes_the_others(_: ClosedSession) -> None:
        for name in ("one", "two", "three"):
            await world.sessions.close(name)

    world.sessions.add_close_handler(closes_the_others)
    world.sessions.fence(SHARD)
    await world.sessions.settle()
    assert Counter(closed.id for closed in world.closed) == {"one": 1, "two": 1, "three": 1}


async def test_a_slow_handler_does_not_keep_fenced_sessions_alive(world: World) -> None:
    await world.open("one", "two")
    alive: list[int] = []

    async def looks(_: ClosedSession) -> None:
        alive.append(len(world.sessions))

    world.sessions.add_close_handler(looks)
    world.sessions.fence(SHARD)
    await world.sessions.settle()
    assert alive == [0, 0]


# Touching.


async def test_what_was_seen_is_touched_in_one_batch_and_no_more_often_than_asked(world: World) -> None:
    await world.open(*(f"s{n}" for n in range(50)))
    world.store.calls.clear()
    touches_by_minute: Counter[int] = Counter()
    start = world.clock.now
    for second in range(1, 5 * TOUCH_SECONDS + 1):
        world.clock.now = start + second
        for n in range(50):
            world.see(f"s{n}")
        await world.sessions.records.flush()
        touches_by_minute[(second - 1) // TOUCH_SECONDS] += len(world.store.calls)
        assert set(world.store.calls) <= {"touch_sessions"}
        world.store.calls.clear()
    assert touches_by_minute == dict.fromkeys(range(5), 1)
    assert {record.last_seen for record in (await world.records()).values()} == {world.clock.now}


async def test_a_session_that_nobody_uses_is_not_touched(world: World) -> None:
    await world.open("used", "idle")
    world.clock.now += TOUCH_SECONDS
    world.see("used")
    await world.sessions.records.flush()
    records = await world.records()
    assert (records["used"].last_seen, records["idle"].last_seen) == (1_060.0, 1_000.0)


async def test_a_touch_keeps_a_record_alive(world: World) -> None:
    await world.open("used", "idle")
    for _ in range(2 * TTL_SECONDS // TOUCH_SECONDS):
        world.clock.now += TOUCH_SECONDS
        world.see("used")
        await world.sessions.records.flush()
    assert set(await world.records()) == {"used"}


@pytest.mark.parametrize("touch_seconds", [60.0, 3600.0])
async def test_a_session_that_is_used_stays_on_record_however_short_that_is_kept(
    world: World, touch_seconds: float
) -> None:
    """Both times can be set, and each is right by itself."""
    world.sessions = LocalSessions(world.store, NODE, 60, touch_seconds, world.clock)
    await world.open("used")
    for _ in range(300):
        world.clock.now += 1
        world.see("used")
        await world.sessions.records.flush()
        assert set(await world.records()) == {"used"}


async def test_a_touch_finds_that_the_record_is_missing_and_writes_it(world: World) -> None:
    await world.open("one")
    world.lose("one")
    world.clock.now += TOUCH_SECONDS
    world.see("one")
    await world.sessions.records.flush()
    assert (await world.records())["one"].last_seen == 1_060.0


async def test_a_touch_that_failed_is_made_up_for(world: World) -> None:
    await world.open("one")
    world.clock.now += TOUCH_SECONDS
    world.see("one")
    world.store.away = True
    with pytest.raises(StoreUnavailable):
        await world.sessions.records.flush()
    world.store.away = False
    await world.sessions.records.flush()
    assert (await world.records())["one"].last_seen == 1_060.0


async def test_a_session_that_is_closed_while_it_is_touched_stays_off_the_record(world: World) -> None:
    await world.open("one")
    world.clock.now += TOUCH_SECONDS
    world.see("one")

    async def close() -> None:
        await world.sessions.close("one")

    world.store.before["touch_sessions"] = close
    await world.sessions.records.flush()
    assert await world.records() == {}


async def test_all_records_are_written_anew_on_demand(world: World) -> None:
    await world.open("one", "two")
    world.lose("one", "two")
    await write_all_again(world.sessions)
    assert set(await world.records()) == {"one", "two"}


# A store that went back: a replica that did not have the last writes is the primary now.


async def test_after_a_write_that_failed_all_records_are_written_again(world: World) -> None:
    await world.open("one")
    world.store.away = True
    await world.open("two")
    world.lose("one")
    world.store.away = False
    await world.sessions.records.flush()
    assert set(await world.records()) == {"one", "two"}


async def test_after_a_removal_that_failed_all_records_are_written_again_in_the_end(world: World) -> None:
    await world.open("one", "two")
    world.store.away = True
    await world.sessions.close("two")
    world.lose("one")
    world.store.away, world.store.takes = False, 1  # the removal, and not what follows
    with pytest.raises(StoreUnavailable):
        await world.sessions.records.flush()
    world.store.away, world.store.takes = False, None
    await world.sessions.records.flush()
    assert set(await world.records()) == {"one"}


async def test_what_was_removed_lately_does_not_come_back_with_an_old_copy(world: World) -> None:
    await world.open("one", "two")
    before = dict(world.memory._sessions)
    await world.sessions.close("one")
    world.memory._sessions = before
    await write_all_again(world.sessions)
    assert set(await world.records()) == {"two"}


async def test_what_was_removed_is_not_remembered_for_long(world: World) -> None:
    await world.open("one")
    await world.sessions.close("one")
    world.clock.now += 60
    await world.sessions.records.flush()
    world.store.calls.clear()
    await write_all_again(world.sessions)
    assert world.store.calls == []


# A record of a later epoch.


async def test_a_record_carries_the_epoch_that_its_shard_was_held_at(world: World) -> None:
    await world.sessions.open(world.a_session("one", epoch=3))
    assert (await world.records())["one"].epoch == 3


async def test_what_another_owner_wrote_stays_and_is_told_of_once_for_each_shard(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for name, shard in (("one", SHARD), ("two", SHARD), ("three", OTHER_SHARD)):
        await world.sessions.open(world.a_session(name, shard, epoch=1))
        theirs = replace(world.a_session(name).record("node-2-aaaaa"), epoch=2)
        await world.memory.save_session(theirs, TTL_SECONDS)
    for _ in range(3):
        world.clock.now += TOUCH_SECONDS
        for name in ("one", "two", "three"):
            world.see(name)
        await world.sessions.records.flush()
        await write_all_again(world.sessions)
    assert {(record.node_id, record.epoch) for record in (await world.records()).values()} == {("node-2-aaaaa", 2)}
    assert len(world.sessions) == 3
    told = [record.getMessage() for record in caplog.records if record.name == "mooring.sessions"]
    assert len(told) == 2
    assert all(f"shard {shard} has another owner" in told[n] for n, shard in enumerate((SHARD, OTHER_SHARD)))


async def test_closing_removes_no_record_of_a_later_epoch(world: World) -> None:
    await world.sessions.open(world.a_session("one", epoch=1))
    await world.memory.save_session(replace(world.a_session("one").record("node-2-aaaaa"), epoch=2), TTL_SECONDS)
    await world.sessions.close("one")
    assert (await world.records())["one"].epoch == 2
    assert [closed.id for closed in world.closed] == ["one"]


async def test_a_closed_session_does_not_come_back_when_its_owner_of_old_writes_everything_anew(world: World) -> None:
    paused = LocalSessions(world.store, "node-2-aaaaa", TTL_SECONDS, TOUCH_SECONDS, world.clock)
    await paused.open(world.a_session("one", epoch=1))
    await world.sessions.open(world.a_session("one", epoch=2))
    await world.sessions.close("one")
    await write_all_again(paused)
    assert await world.records() == {}


async def test_a_session_that_is_closed_while_it_is_touched_is_nothing_to_tell_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.open("one")
    world.clock.now += TOUCH_SECONDS
    world.see("one")

    async def close() -> None:
        await world.sessions.close("one")

    world.store.before["touch_sessions"] = close
    await world.sessions.records.flush()
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


# Whatever happens.

names = st.sampled_from(["one", "two", "three"])
steps = st.one_of(
    st.tuples(st.sampled_from(["open", "close", "see"]), names),
    st.tuples(st.just("fence"), st.sampled_from([SHARD, OTHER_SHARD])),
    st.tuples(st.sampled_from(["away", "back", "flush", "minute", "save all"]), st.just("")),
    st.tuples(st.just("takes"), st.integers(0, 3)),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(steps, max_size=30))
@example([("away", ""), ("open", "one"), ("close", "one"), ("back", ""), ("open", "one")])
async def test_whenever_the_store_is_away_it_has_everything_in_the_end(story: list[tuple[str, Any]]) -> None:
    world = World()
    opened: Counter[str] = Counter()
    fenced: set[str] = set()
    # Each opening has an id of its own, as each that a node mints has.
    ids = {name: name for name in ("one", "two", "three")}
    for step, what in story:
        if step == "open" and world.sessions.find(ids[what]) is None and what not in fenced:
            ids[what] = f"{what}-{opened.total()}"
            opened[ids[what]] += 1
            await world.open(ids[what], shard=OTHER_SHARD if what == "three" else SHARD)
        elif step == "close":
            await world.sessions.close(ids[what])
        elif step == "see" and world.sessions.find(ids[what]) is not None:
            world.see(ids[what])
        elif step == "fence":
            fenced |= {name for name, session_id in ids.items() if _is_on(world, session_id, what)}
            world.sessions.fence(what)
            await world.sessions.settle()
        elif step in ("away", "back"):
            world.store.away, world.store.takes = step == "away", None
        elif step == "takes":
            world.store.away, world.store.takes = False, what
        elif step == "minute":
            world.clock.now += TOUCH_SECONDS
        elif step in ("flush", "save all"):
            await _try(world.sessions.records.flush() if step == "flush" else write_all_again(world.sessions))
    world.store.away, world.store.takes = False, None
    await world.sessions.records.flush()
    live = {session_id: session for session_id in ids.values() if (session := world.sessions.find(session_id))}
    records = await world.records()
    assert set(live) <= set(records) <= set(live) | {ids[name] for name in fenced}
    for name, session in live.items():
        assert session.last_seen - records[name].last_seen < TOUCH_SECONDS
        assert records[name] == replace(session.record(NODE), last_seen=records[name].last_seen)
    assert len(world.closed) == opened.total() - len(live)


def _is_on(world: World, name: str, shard: str) -> bool:
    session = world.sessions.find(name)
    return session is not None and session.shard == shard


async def _try(telling: Awaitable[None]) -> None:
    try:
        await telling
    except StoreUnavailable:
        pass


# What a session is.


def test_a_session_is_mapped_where_the_app_names_it_differently(world: World) -> None:
    assert not world.a_session("one").is_mapped
    assert world.a_session("one", inner_id="theirs").is_mapped


def test_the_apps_name_is_not_on_record(world: World) -> None:
    record = world.a_session("one", inner_id="the-inner-id").record(NODE)
    assert "the-inner-id" not in repr(record)
    assert record.node_id == NODE


async def test_of_many_that_end_at_once_with_the_same_trouble_the_log_tells_of_a_few(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()

    async def takes_no_delete() -> bool:
        return False

    def fails(closed: ClosedSession) -> None:
        raise ZeroDivisionError

    world.sessions.add_close_handler(fails)
    for number in range(50):
        await world.sessions.open(world.a_session(f"{SHARD}.{number}", end_in_app=takes_no_delete))
    world.sessions.fence(SHARD)
    await world.sessions.settle()
    assert sum("it takes no DELETE" in message for message in caplog.messages) == 20
    assert sum("on_close handler failed" in message for message in caplog.messages) == 20
