"""One contract for every store: this process's memory, Valkey, and Redis 7."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mooring.core.model import NodeState, ShardOwner, life_of
from mooring.store import MemoryStore, RedisStore, Store
from tests.real_redis import SERVERS, real_redis
from tests.store.examples import NODE, OTHER, RECORD
from tests.waiting import until


@pytest.fixture(params=["memory", *SERVERS])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    async with real_redis(request.param) as server:
        opened = RedisStore(server.url, "mcp", timeout_seconds=2)
        try:
            yield opened
        finally:
            await opened.aclose()


async def test_a_registered_node_is_in_the_snapshot_as_it_was_written(store: Store) -> None:
    await store.register(NODE, lease_seconds=5)
    snapshot = await store.snapshot()
    lease = snapshot.leases[NODE.id]
    assert lease.node == NODE
    assert lease.until_ms - lease.renewed_ms == 5000
    assert 0 <= snapshot.now_ms - lease.renewed_ms < 5000


async def test_a_heartbeat_of_an_unknown_node_says_so_and_writes_nothing(store: Store) -> None:
    assert await store.heartbeat(NODE, 5, renewed_ms=0, known_version=-1) is None
    assert (await store.snapshot()).leases == {}


async def test_a_heartbeat_renews_the_lease_and_what_the_node_says(store: Store) -> None:
    renewed_ms = await store.register(NODE, lease_seconds=0.001)
    before = await until(lambda: _expired(store, NODE.id), what="the lease to end")
    busier = replace(NODE, sessions=9)
    snapshot = await store.heartbeat(busier, 5, renewed_ms, known_version=-1)
    assert snapshot is not None
    assert snapshot.leases[NODE.id].node == busier
    assert snapshot.leases[NODE.id].until_ms > max(snapshot.now_ms, before)


async def _expired(store: Store, node_id: str) -> int:
    snapshot = await store.snapshot()
    until_ms = snapshot.leases[node_id].until_ms
    return until_ms if until_ms <= snapshot.now_ms else 0


async def test_a_heartbeat_brings_the_shards_only_where_they_changed(store: Store) -> None:
    renewed_ms = await store.register(NODE, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), expected_epoch=0)
    first = await store.heartbeat(NODE, 5, renewed_ms, known_version=-1)
    assert first is not None
    assert first.shards == {"abcde": ShardOwner(NODE.id, 1)}
    second = await store.heartbeat(NODE, 5, first.leases[NODE.id].renewed_ms, first.version)
    assert second is not None
    assert second.shards is None
    await store.claim("fghij", ShardOwner(NODE.id, 1), expected_epoch=0)
    third = await store.heartbeat(NODE, 5, second.leases[NODE.id].renewed_ms, first.version)
    assert third is not None
    assert third.version > first.version
    assert set(third.shards or {}) == {"abcde", "fghij"}


async def test_a_heartbeat_on_a_store_that_went_back_in_time_says_so(store: Store) -> None:
    renewed_ms = await store.register(NODE, 5)
    assert await store.heartbeat(NODE, 5, renewed_ms - 1, known_version=-1) is None
    assert await store.heartbeat(NODE, 5, renewed_ms, known_version=-1) is not None


async def test_a_free_shard_goes_to_the_first_who_claims_it(store: Store) -> None:
    assert await store.claim("abcde", ShardOwner(NODE.id, 1), 0) == ShardOwner(NODE.id, 1)
    assert await store.claim("abcde", ShardOwner(OTHER.id, 1), 0) == ShardOwner(NODE.id, 1)
    assert (await store.snapshot()).shards == {"abcde": ShardOwner(NODE.id, 1)}


async def test_a_claim_needs_the_epoch_that_the_shard_stands_at(store: Store) -> None:
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.claim("abcde", ShardOwner(OTHER.id, 2), 1) == ShardOwner(OTHER.id, 2)
    assert await store.claim("abcde", ShardOwner(NODE.id, 2), 1) == ShardOwner(OTHER.id, 2)


async def test_claiming_an_own_shard_keeps_the_higher_epoch(store: Store) -> None:
    await store.claim("abcde", ShardOwner(NODE.id, 5), 0)
    version = (await store.snapshot()).version
    assert await store.claim("abcde", ShardOwner(NODE.id, 3), 0) == ShardOwner(NODE.id, 5)
    assert (await store.snapshot()).version == version
    assert await store.claim("abcde", ShardOwner(NODE.id, 6), 0) == ShardOwner(NODE.id, 6)


async def test_the_version_counts_changes_and_says_when_the_shards_were_first_written(store: Store) -> None:
    assert (await store.snapshot()).version == 0
    now_ms = (await store.snapshot()).now_ms
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    version = (await store.snapshot()).version
    assert 0 <= life_of(version) - now_ms // 1000 <= 2
    await store.claim("fghij", ShardOwner(NODE.id, 1), 0)
    assert (await store.snapshot()).version == version + 1


async def test_forgetting_a_node_without_shards_is_no_change_of_the_shards(store: Store) -> None:
    await store.register(NODE, lease_seconds=0.001)
    await until(lambda: _expired(store, NODE.id), what="the lease to end")
    assert await store.prune(older_than_seconds=0) == 1
    assert (await store.snapshot()).version == 0


async def test_a_node_that_leaves_stays_known_as_gone(store: Store) -> None:
    await store.register(NODE, 5)
    await store.leave(NODE)
    snapshot = await store.snapshot()
    assert snapshot.leases[NODE.id].node.state is NodeState.GONE
    assert snapshot.leases[NODE.id].until_ms == 0


async def test_pruning_forgets_the_dead_and_their_shards_only(store: Store) -> None:
    await store.register(NODE, 5)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await store.claim("fghij", ShardOwner(OTHER.id, 1), 0)
    await store.leave(OTHER)
    assert await store.prune(older_than_seconds=60) == 0
    assert await until(lambda: store.prune(older_than_seconds=0), what="the goodbye to be in the past") == 1
    snapshot = await store.snapshot()
    assert set(snapshot.leases) == {NODE.id}
    assert snapshot.shards == {"abcde": ShardOwner(NODE.id, 1)}


async def test_a_session_record_is_read_as_it_was_written(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    assert await store.load_session(RECORD.id) == RECORD
    assert [record async for record in store.sessions()] == [RECORD]


async def test_a_deleted_record_is_gone_and_deleting_says_whether_it_was_there(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    assert await store.delete_session(RECORD.id) is True
    assert await store.delete_session(RECORD.id) is False
    assert await store.load_session(RECORD.id) is None


async def test_touching_renews_what_is_there_and_names_what_is_missing(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    absent = "zzzzz.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
    assert await store.touch_sessions({RECORD.id: 1_700_000_099.5, absent: 1.0}, ttl_seconds=60) == [absent]
    assert await store.load_session(RECORD.id) == replace(RECORD, last_seen=1_700_000_099.5)
    assert await store.load_session(absent) is None


async def test_many_records_are_written_and_listed(store: Store) -> None:
    records = [replace(RECORD, id=f"abcde.{n:022d}.BBBBBBBBBBB") for n in range(501)]
    await store.save_sessions(records, ttl_seconds=60)
    assert {record.id async for record in store.sessions()} == {record.id for record in records}
