"""What the store in memory alone has to do; what every store does is in `test_contract.py`."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from mooring.core.model import ShardOwner, Touch, Written
from mooring.store import MemoryStore
from tests.fakes import Clock
from tests.store.examples import NODE, OTHER, RECORD


async def test_a_record_ends_with_its_time_to_live() -> None:
    now = 1_000.0
    store = MemoryStore(now=lambda: now)
    await store.save_session(RECORD, ttl_seconds=60)
    now += 61
    assert await store.load_session(RECORD.id) is None


@pytest.mark.parametrize("is_touched", [True, False])
async def test_a_touch_begins_the_time_to_live_anew_unless_it_is_over(is_touched: bool) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.save_session(RECORD, ttl_seconds=60)
    clock.now += 59.9 if is_touched else 60
    touched = await store.touch_sessions([Touch(RECORD.id, RECORD.epoch, 5.0)], ttl_seconds=60)
    assert touched == ({} if is_touched else {RECORD.id: Written.MISSING})
    clock.now += 59.9
    assert await store.load_session(RECORD.id) == (replace(RECORD, last_seen=5.0) if is_touched else None)


async def test_a_record_that_ended_is_listed_and_deleted_as_if_it_had_never_been() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    other = replace(RECORD, id="other")
    await store.save_session(RECORD, ttl_seconds=60)
    await store.save_session(other, ttl_seconds=600)
    clock.now += 60
    assert [record.id async for record in store.sessions()] == [other.id]
    assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.MISSING
    assert await store.delete_session(other.id, other.epoch) is Written.DONE


async def test_records_that_come_and_go_while_they_are_listed_are_no_error() -> None:
    store = MemoryStore()
    for n in range(3):
        await store.save_session(replace(RECORD, id=str(n)), ttl_seconds=60)
    seen = []
    async for record in store.sessions():
        seen.append(record.id)
        await store.delete_session("1", RECORD.epoch)
        await store.save_session(replace(RECORD, id="new"), ttl_seconds=60)
    assert seen == ["0", "2"]


async def test_leases_are_measured_by_the_stores_clock() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    renewed_ms = await store.register(NODE, lease_seconds=5)
    clock.now += 2
    snapshot = await store.heartbeat(NODE, 5, renewed_ms, known=None)
    assert snapshot is not None
    assert (snapshot.now_ms, snapshot.leases[NODE.id].renewed_ms, snapshot.leases[NODE.id].until_ms) == (
        1_002_000,
        1_002_000,
        1_007_000,
    )


async def test_the_dead_are_forgotten_when_their_time_is_over_and_not_before() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    await store.register(NODE, lease_seconds=5)
    await store.register(OTHER, lease_seconds=600)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    version = (await store.snapshot()).version
    for seconds, forgotten in ((4, 0), (6, 0), (50, 0), (1, 1), (1, 0)):
        clock.now += seconds
        assert await store.prune(older_than_seconds=60) == forgotten
    snapshot = await store.snapshot()
    assert (set(snapshot.leases), snapshot.shards) == ({OTHER.id}, {})
    assert snapshot.version == version + 1


async def test_what_was_told_does_not_change_with_the_store() -> None:
    store = MemoryStore()
    await store.register(NODE, 5)
    before = await store.snapshot()
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert (set(before.leases), before.shards) == ({NODE.id}, {})
    await store.aclose()


async def test_what_nobody_asks_for_any_more_is_not_held_for_ever() -> None:
    """Sessions that their app has ended, and whose clients never came back: each may have a megabyte on record."""
    clock = Clock(1_000.0)
    store = MemoryStore(clock)
    for number in range(5):
        await store.save_session(replace(RECORD, id=f"{number}"), ttl_seconds=60)
    clock.now += 100
    await store.save_session(replace(RECORD, id="new"), ttl_seconds=60)
    assert list(store._sessions) == ["new"]


async def test_keys_that_clients_make_up_take_neither_time_nor_room_without_end() -> None:
    clock = Clock(1_000.0)
    store = MemoryStore(clock)
    began = time.process_time()
    for number in range(120_000):
        await store.place(f"key {number}", "aaaaa", 3_600_000)
    assert time.process_time() - began < 10
    assert len(store._places) <= 100_001
    assert await store.place("key 119999", "bbbbb", 3_600_000) == "aaaaa"
    clock.now += 3_601
    assert await store.place("key 119998", "bbbbb", 3_600_000) == "bbbbb"
    assert len(store._places) == 1
