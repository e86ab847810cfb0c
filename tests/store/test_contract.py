"""One contract for every store: this process's memory, Valkey, and Redis 7."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mooring.core.balance import at_most, is_fuller
from mooring.core.model import (
    NO_OWNER,
    NodeInfo,
    NodeState,
    SessionRecord,
    ShardOwner,
    Snapshot,
    Touch,
    Written,
    life_of,
    unknown_node,
)
from mooring.errors import DeclaredDead
from mooring.store import MemoryStore, RedisStore, Store
from mooring.store.base import REMOVED_SECONDS
from tests.real_redis import SERVERS, real_redis
from tests.store.examples import ABSENT, NODE, OTHER, RECORD, SEALS
from tests.waiting import until


async def test_a_registered_node_is_in_the_snapshot_as_it_was_written(store: Store) -> None:
    await store.register(NODE, lease_seconds=5)
    snapshot = await store.snapshot()
    lease = snapshot.leases[NODE.id]
    assert lease.node == NODE
    assert lease.until_ms - lease.renewed_ms == 5000
    assert 0 <= snapshot.now_ms - lease.renewed_ms < 5000


async def test_a_key_is_placed_where_it_first_was_until_it_is_forgotten(store: Store) -> None:
    assert await store.place("key", "abcde", 60_000) == "abcde"
    assert await store.place("key", "fghij", 60_000) == "abcde"
    assert await store.place("other", "fghij", 60_000) == "fghij"
    assert await store.place("key", "klmno", 1) == "abcde"

    async def is_forgotten() -> bool:
        return await store.place("key", "klmno", 1) == "klmno"

    await until(is_forgotten, what="the key to be forgotten")


async def test_a_heartbeat_of_an_unknown_node_says_so_and_writes_nothing(store: Store) -> None:
    assert await store.heartbeat(NODE, 5, renewed_ms=0, known=None) is None
    assert (await store.snapshot()).leases == {}


async def test_a_heartbeat_renews_the_lease_and_what_the_node_says(store: Store) -> None:
    renewed_ms = await store.register(NODE, lease_seconds=0.001)
    before = await until(lambda: _expired(store, NODE.id), what="the lease to end")
    busier = replace(NODE, sessions=9)
    snapshot = await store.heartbeat(busier, 5, renewed_ms, known=None)
    assert snapshot is not None
    assert snapshot.leases[NODE.id].node == busier
    assert snapshot.leases[NODE.id].until_ms > max(snapshot.now_ms, before)


async def _is_past(store: Store, moment_ms: int) -> bool:
    return (await store.snapshot()).now_ms > moment_ms


async def _expired(store: Store, node_id: str) -> int:
    snapshot = await store.snapshot()
    until_ms = snapshot.leases[node_id].until_ms
    return until_ms if until_ms <= snapshot.now_ms else 0


async def _beat(store: Store, known: Snapshot) -> Snapshot:
    after = await store.heartbeat(known.leases[NODE.id].node, 60, known.leases[NODE.id].renewed_ms, known)
    assert after is not None
    return after


async def _joined(store: Store) -> Snapshot:
    """What the store says to a node with its first heartbeat."""
    snapshot = await store.heartbeat(NODE, 60, await store.register(NODE, 60), known=None)
    assert snapshot is not None
    return snapshot


def _told(snapshot: Snapshot) -> object:
    """All but the times of leases, which may be old."""
    leases = {node_id: (lease.node, lease.is_over, lease.until_ms == 0) for node_id, lease in snapshot.leases.items()}
    return leases, snapshot.shards, snapshot.version


async def test_a_heartbeat_says_what_a_whole_answer_would_whatever_is_known(store: Store) -> None:
    known = await _joined(store)
    third = replace(OTHER, id="node-3-abcde")

    async def short_lease() -> None:
        await store.register(third, lease_seconds=0.02)

    async def its_end() -> None:
        await until(lambda: _expired(store, third.id), what="the lease to end")

    async def forgotten() -> None:
        await until(lambda: store.prune(older_than_seconds=0), what="the end to be in the past")

    for happens in (
        lambda: store.register(OTHER, 60),
        lambda: store.claim("abcde", ShardOwner(NODE.id, 1), 0),
        lambda: store.claim("fghij", ShardOwner(third.id, 1), 0),
        lambda: store.give("abcde", ShardOwner(NODE.id, 1), OTHER.id),
        lambda: store.register(replace(OTHER, state=NodeState.DRAINING, url="http://127.0.0.1:1"), 60),
        lambda: store.register(replace(OTHER, sessions=OTHER.capacity), 60),
        short_lease,
        its_end,
        lambda: store.register(third, 60),
        lambda: store.bury(third.id),
        lambda: store.adopt("fghij", NODE.id, 1),
        lambda: store.leave(OTHER),
        forgotten,
        lambda: store.claim("abcde", ShardOwner(NODE.id, 9), 0),
    ):
        await happens()
        before = _told(await store.snapshot())
        looked = await store.look(NODE.id, known.leases[NODE.id].renewed_ms, known)
        between = _told(await store.snapshot())
        assert _told(looked) in (before, between)  # the short lease may end at any moment
        assert looked.leases[NODE.id].renewed_ms == known.leases[NODE.id].renewed_ms
        late, known = known, await _beat(store, known)
        assert _told(known) in (between, _told(await store.snapshot()))
        is_news = happens is not its_end or _told(late) != _told(known)  # else the short lease had ended before
        assert late.mark == "" or not is_news or late.mark != known.mark


async def test_a_heartbeat_without_news_says_the_same_and_that_the_lease_is_renewed(store: Store) -> None:
    first = await _joined(store)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    second = await _beat(store, first)
    third = await _beat(store, second)
    assert _told(third) == _told(second)
    assert third.leases[NODE.id].renewed_ms == third.now_ms
    lease = (await store.snapshot()).leases[NODE.id]
    assert (lease.renewed_ms, lease.node) == (third.now_ms, NODE)


async def test_what_a_node_counts_and_says_is_on_record_at_once(store: Store) -> None:
    known = await _joined(store)
    busier = replace(NODE, sessions=4, counters=replace(NODE.counters, served=8))
    snapshot = await store.heartbeat(busier, 60, known.leases[NODE.id].renewed_ms, known)
    assert snapshot is not None
    assert (await store.snapshot()).leases[NODE.id].node == busier == snapshot.leases[NODE.id].node
    assert (await _beat(store, snapshot)).leases[NODE.id].node == busier


async def test_peers_hear_well_enough_how_full_a_node_is(store: Store) -> None:
    """By counts that rise and fall, by ones and by leaps, in a large node and a small one."""
    known = await _joined(store)
    for capacity in (10_000, 40):
        other = replace(OTHER, capacity=capacity)
        renewed_ms, snapshot = await store.register(other, 60), None
        for sessions in (*range(40), 300, 301, 380, 420, 900, 890, 600, 50, 49, *range(40, 0, -1)):
            told_of = replace(other, sessions=sessions)
            snapshot = await store.heartbeat(told_of, 60, renewed_ms, snapshot)
            assert snapshot is not None
            renewed_ms = snapshot.leases[OTHER.id].renewed_ms
            known = await store.look(NODE.id, known.leases[NODE.id].renewed_ms, known)
            peer = known.leases[OTHER.id].node
            assert sessions <= at_most(peer)
            assert not is_fuller(sessions, capacity, peer, is_vague=True)
        assert known.leases[OTHER.id].node.sessions < 20


async def test_a_look_of_a_node_that_the_store_does_not_know_so_says_everything(store: Store) -> None:
    known = await _joined(store)
    await store.register(OTHER, 60)
    for node_id, renewed_ms in ((NODE.id, known.leases[NODE.id].renewed_ms - 1), ("node-9-abcde", 0)):
        assert _told(await store.look(node_id, renewed_ms, known)) == _told(await store.snapshot())


async def test_a_heartbeat_on_a_store_that_went_back_in_time_says_so(store: Store) -> None:
    renewed_ms = await store.register(NODE, 5)
    assert await store.heartbeat(NODE, 5, renewed_ms - 1, known=None) is None
    assert await store.heartbeat(NODE, 5, renewed_ms, known=None) is not None


async def test_a_free_shard_goes_to_the_first_who_claims_it(store: Store) -> None:
    assert await store.claim("abcde", ShardOwner(NODE.id, 1), 0) == ShardOwner(NODE.id, 1)
    assert await store.claim("abcde", ShardOwner(OTHER.id, 1), 0) == ShardOwner(NODE.id, 1)
    assert (await store.snapshot()).shards == {"abcde": ShardOwner(NODE.id, 1)}


async def test_a_claim_needs_the_epoch_that_the_shard_stands_at(store: Store) -> None:
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.claim("abcde", ShardOwner(OTHER.id, 2), 1) == ShardOwner(OTHER.id, 2)
    assert await store.claim("abcde", ShardOwner(NODE.id, 2), 1) == ShardOwner(OTHER.id, 2)


async def test_a_claim_takes_nothing_from_who_holds_the_same_epoch_or_a_later_one(store: Store) -> None:
    await store.register(NODE, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    for epoch in (1, 2, 3):
        assert await store.claim("abcde", ShardOwner(OTHER.id, epoch), 3) == ShardOwner(NODE.id, 3)
    assert (await store.snapshot()).shards == {"abcde": ShardOwner(NODE.id, 3)}


async def test_a_shard_that_is_not_there_is_claimed_as_fresh_or_not_at_all(store: Store) -> None:
    assert await store.claim("abcde", ShardOwner(NODE.id, 4), 3) == NO_OWNER
    assert (await store.snapshot()).shards == {}
    assert await store.claim("abcde", ShardOwner(NODE.id, 4), 0) == ShardOwner(NODE.id, 4)


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


# Adopting.


async def _over(store: Store, node: NodeInfo) -> None:
    """This node's lease is over, and not everybody's."""
    await store.register(replace(OTHER, id="node-9-abcde"), lease_seconds=600)
    await store.register(node, lease_seconds=0.001)
    await until(lambda: _expired(store, node.id), what="the lease to end")


async def test_a_shard_whose_owners_lease_is_over_is_adopted_at_the_next_epoch(store: Store) -> None:
    await _over(store, NODE)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    version = (await store.snapshot()).version
    assert await store.adopt("abcde", OTHER.id, 3) == ShardOwner(OTHER.id, 4)
    snapshot = await store.snapshot()
    assert snapshot.shards == {"abcde": ShardOwner(OTHER.id, 4)}
    assert snapshot.version == version + 1


async def _silence(store: Store, *nodes: NodeInfo) -> None:
    """The store was away from all of these for longer than their leases."""
    for node in nodes:
        await store.register(node, lease_seconds=0.001)
    for node in nodes:
        await until(lambda node_id=node.id: _expired(store, node_id), what="the lease to end")  # type: ignore[misc]


@pytest.mark.parametrize("first", ["a newcomer", "one of them"])
async def test_after_a_silence_of_all_whoever_lives_has_a_lease_s_time_to_renew(store: Store, first: str) -> None:
    """The store was away from everybody, or its clock has made a jump: nobody's lease says who is dead."""
    third = replace(OTHER, id="node-3-abcde")
    await _silence(store, NODE, third)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await store.claim("fghij", ShardOwner(third.id, 1), 0)
    adopter = OTHER if first == "a newcomer" else third
    await store.register(adopter, lease_seconds=0.6)
    assert await store.adopt("abcde", adopter.id, 1) == ShardOwner(NODE.id, 1)
    await store.register(adopter, lease_seconds=60)

    async def adopted() -> bool:
        return await store.adopt("abcde", adopter.id, 1) == ShardOwner(adopter.id, 2)

    await until(adopted, what="the silent one to be dead", seconds=2)
    lease = (await store.snapshot()).leases[adopter.id]
    assert lease.until_ms > lease.renewed_ms


async def test_one_that_renews_after_a_silence_of_all_keeps_its_shards(store: Store) -> None:
    await _silence(store, NODE)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await store.register(OTHER, lease_seconds=0.05)
    await store.register(NODE, lease_seconds=60)
    await until(lambda: _expired(store, OTHER.id), what="the newcomer's lease to end")
    await store.register(OTHER, lease_seconds=60)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(NODE.id, 1)


@pytest.mark.parametrize("end", ["leave", "bury"])
async def test_an_end_that_is_on_record_is_one_after_a_silence_too(store: Store, end: str) -> None:
    third = replace(OTHER, id="node-3-abcde")
    await _silence(store, NODE, third)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await (store.leave(NODE) if end == "leave" else store.bury(NODE.id))
    await store.register(OTHER, lease_seconds=60)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(OTHER.id, 2)


@pytest.mark.parametrize("end", ["leave", "bury"])
async def test_a_shard_of_a_node_that_left_or_was_buried_is_adopted_at_once(store: Store, end: str) -> None:
    await store.register(NODE, 60)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await (store.leave(NODE) if end == "leave" else store.bury(NODE.id))
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(OTHER.id, 2)


async def test_a_node_that_says_it_is_gone_is_dead_though_its_lease_is_not_over(store: Store) -> None:
    await store.register(replace(NODE, state=NodeState.GONE), 60)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(OTHER.id, 2)


async def test_a_living_owners_shard_never_moves(store: Store) -> None:
    await store.register(NODE, 60)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    version = (await store.snapshot()).version
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(NODE.id, 1)
    assert (await store.snapshot()).version == version


async def test_the_first_who_adopts_has_it(store: Store) -> None:
    third = replace(OTHER, id="node-3-abcde")
    await _over(store, NODE)
    await store.register(OTHER, 5)
    await store.register(third, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(OTHER.id, 2)
    assert await store.adopt("abcde", third.id, 1) == ShardOwner(OTHER.id, 2)
    assert await store.adopt("abcde", third.id, 2) == ShardOwner(OTHER.id, 2)


async def test_a_shard_is_adopted_only_at_the_epoch_that_is_expected(store: Store) -> None:
    await _over(store, NODE)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    for expected in (0, 2, 4):
        assert await store.adopt("abcde", OTHER.id, expected) == ShardOwner(NODE.id, 3)


async def test_a_shard_that_nobody_owns_is_not_adopted(store: Store) -> None:
    await store.register(OTHER, 5)
    assert await store.adopt("abcde", OTHER.id, 0) == NO_OWNER
    assert (await store.snapshot()).shards == {}


async def test_a_node_adopts_nothing_from_itself(store: Store) -> None:
    await store.register(NODE, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.adopt("abcde", NODE.id, 1) == ShardOwner(NODE.id, 1)


async def test_a_lease_that_stands_for_a_lost_node_proves_nothing_of_it(store: Store) -> None:
    """It was not renewed by that node: so it can neither adopt, nor be given anything, nor be renewed."""
    third = replace(NODE, id="node-3-abcde")
    await store.register(OTHER, 60)
    await _over(store, third)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await store.claim("fghij", ShardOwner(third.id, 1), 0)
    await store.claim("klmno", ShardOwner(OTHER.id, 1), 0)
    await store.adopt("abcde", OTHER.id, 1)
    assert await store.adopt("fghij", NODE.id, 1) == ShardOwner(third.id, 1)
    assert await store.give("klmno", ShardOwner(OTHER.id, 1), NODE.id) == ShardOwner(OTHER.id, 1)
    assert await store.give("abcde", ShardOwner(NODE.id, 1), OTHER.id) == ShardOwner(NODE.id, 1)
    for renewed_ms in range((now_ms := (await store.snapshot()).now_ms) - 50, now_ms + 1):
        assert await store.heartbeat(NODE, 5, renewed_ms, known=None) is None


@pytest.mark.parametrize("adopter", ["absent", "over", "buried"])
async def test_a_node_that_is_not_alive_adopts_nothing(store: Store, adopter: str) -> None:
    await _over(store, NODE)
    if adopter != "absent":
        await _over(store, OTHER)
    if adopter == "buried":
        await store.bury(OTHER.id)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(NODE.id, 1)


async def test_an_owner_without_an_entry_has_a_lease_s_time_to_come_back(store: Store) -> None:
    await store.register(OTHER, lease_seconds=0.5)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(NODE.id, 1)
    lease = (await store.snapshot()).leases[NODE.id]
    assert lease.node == unknown_node(NODE.id)
    assert lease.until_ms - lease.renewed_ms == 500
    await store.register(OTHER, 60)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(NODE.id, 1)

    async def adopted() -> bool:
        return await store.adopt("abcde", OTHER.id, 1) == ShardOwner(OTHER.id, 2)

    await until(adopted, what="the lease of the owner that does not come back to end", seconds=2)


async def test_an_owner_without_an_entry_that_comes_back_keeps_its_shard(store: Store) -> None:
    await store.register(OTHER, lease_seconds=0.05)
    await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
    await store.adopt("abcde", OTHER.id, 1)
    await until(lambda: _expired(store, OTHER.id), what="the lease to end")
    assert await store.heartbeat(NODE, 5, renewed_ms=0, known=None) is None
    await store.register(NODE, 5)
    await store.register(OTHER, 5)
    assert await store.adopt("abcde", OTHER.id, 1) == ShardOwner(NODE.id, 1)
    assert (await store.snapshot()).leases[NODE.id].node == NODE


# Giving.


async def test_a_shard_is_given_to_a_living_peer_at_the_next_epoch(store: Store) -> None:
    await store.register(NODE, 5)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    version = (await store.snapshot()).version
    assert await store.give("abcde", ShardOwner(NODE.id, 3), OTHER.id) == ShardOwner(OTHER.id, 4)
    assert (await store.snapshot()).version == version + 1
    assert await store.give("abcde", ShardOwner(NODE.id, 3), OTHER.id) == ShardOwner(OTHER.id, 4)


async def test_only_who_holds_a_shard_at_that_very_epoch_gives_it(store: Store) -> None:
    await store.register(NODE, 5)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    for giver in (ShardOwner(NODE.id, 2), ShardOwner(NODE.id, 4), ShardOwner(OTHER.id, 3)):
        assert await store.give("abcde", giver, OTHER.id) == ShardOwner(NODE.id, 3)
    assert await store.give("abcde", ShardOwner(NODE.id, 3), NODE.id) == ShardOwner(NODE.id, 3)
    assert await store.give("fghij", ShardOwner(NODE.id, 3), OTHER.id) == NO_OWNER


@pytest.mark.parametrize("receiver", ["absent", "over", "buried", "gone"])
async def test_nothing_is_given_to_a_node_that_is_not_alive(store: Store, receiver: str) -> None:
    await store.register(NODE, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    if receiver == "gone":
        await store.register(replace(OTHER, state=NodeState.GONE), 5)
    elif receiver != "absent":
        await _over(store, OTHER)
    if receiver == "buried":
        await store.bury(OTHER.id)
    assert await store.give("abcde", ShardOwner(NODE.id, 3), OTHER.id) == ShardOwner(NODE.id, 3)


async def test_a_giver_whose_lease_is_over_gives_nothing(store: Store) -> None:
    """Somebody may be about to adopt it."""
    await _over(store, NODE)
    await store.register(OTHER, 5)
    await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    assert await store.give("abcde", ShardOwner(NODE.id, 3), OTHER.id) == ShardOwner(NODE.id, 3)


# A node that is too busy to beat.


async def test_a_lease_is_lengthened_and_stays_the_same_renewal(store: Store) -> None:
    renewed_ms = await store.register(NODE, 5)
    assert await store.extend(NODE.id, renewed_ms, 60) is True
    lease = (await store.snapshot()).leases[NODE.id]
    assert (lease.node, lease.renewed_ms) == (NODE, renewed_ms)
    assert lease.until_ms >= renewed_ms + 60_000
    assert await store.extend(NODE.id, renewed_ms, 1) is True
    assert (await store.snapshot()).leases[NODE.id].until_ms == lease.until_ms
    assert await store.heartbeat(NODE, 5, renewed_ms, known=None) is not None


async def test_a_renewal_of_which_its_node_has_not_heard_is_lengthened_too(store: Store) -> None:
    """Its loop fell silent while the answer was on its way."""
    renewed_ms = await store.register(NODE, 5)
    await until(lambda: _is_past(store, renewed_ms), what="the next millisecond")
    assert await store.heartbeat(NODE, 5, renewed_ms, known=None) is not None
    before = (await store.snapshot()).leases[NODE.id]
    assert before.renewed_ms > renewed_ms
    assert await store.extend(NODE.id, renewed_ms, 60) is True
    lease = (await store.snapshot()).leases[NODE.id]
    assert (lease.node, lease.renewed_ms) == (NODE, before.renewed_ms)
    assert lease.until_ms > before.until_ms


@pytest.mark.parametrize("state", ["absent", "over", "buried", "gone", "went back"])
async def test_a_lease_that_is_over_or_another_is_left_alone(store: Store, state: str) -> None:
    renewed_ms = 0 if state == "absent" else await store.register(NODE, 0.001 if state == "over" else 60)
    if state == "over":
        await until(lambda: _expired(store, NODE.id), what="the lease to end")
    elif state == "buried":
        await store.bury(NODE.id)
    elif state == "gone":
        await store.leave(NODE)
    before = (await store.snapshot()).leases
    assert await store.extend(NODE.id, renewed_ms + (state == "went back"), 600) is False
    assert (await store.snapshot()).leases == before


# Orders.


async def test_an_order_is_there_until_the_node_that_it_is_for_has_heard_it(store: Store) -> None:
    assert await store.order_for(NODE.id) == ""
    await store.order(NODE.id, "drain", 60)
    await store.order(OTHER.id, "rebalance", 60)
    for _ in range(2):
        assert await store.order_for(NODE.id) == "drain"
    for _ in range(2):
        await store.heard_order(NODE.id, "drain")
        assert await store.order_for(NODE.id) == ""
    assert await store.order_for(OTHER.id) == "rebalance"


async def test_an_order_that_was_left_since_is_not_taken_for_the_one_that_was_heard(store: Store) -> None:
    await store.order(NODE.id, "rebalance", 60)
    await store.order(NODE.id, "drain", 60)
    await store.heard_order(NODE.id, "rebalance")
    assert await store.order_for(NODE.id) == "drain"


async def test_the_last_order_counts_and_an_old_one_does_not(store: Store) -> None:
    await store.order(NODE.id, "rebalance", 60)
    await store.order(NODE.id, "drain", 60)
    assert await store.order_for(NODE.id) == "drain"
    await store.order(NODE.id, "drain", 0.001)

    async def is_forgotten() -> bool:
        if await store.order_for(NODE.id) == "":
            return True
        await store.order(NODE.id, "drain", 0.001)
        return False

    await until(is_forgotten, what="an order to be forgotten")


# Burying.


async def test_a_buried_node_is_dead_at_once_and_says_what_it_said(store: Store) -> None:
    await store.register(NODE, 60)
    assert await store.bury(NODE.id) is True
    lease = (await store.snapshot()).leases[NODE.id]
    assert (lease.node, lease.until_ms) == (NODE, 0)
    assert await store.bury(NODE.id) is True
    assert (await store.snapshot()).leases[NODE.id] == lease


async def test_a_node_that_is_not_there_cannot_be_buried(store: Store) -> None:
    assert await store.bury(NODE.id) is False
    assert (await store.snapshot()).leases == {}


@pytest.mark.parametrize("end", ["leave", "bury"])
async def test_a_node_whose_end_is_on_record_does_not_come_back(store: Store, end: str) -> None:
    """Whatever it had sent before it died arrives late."""
    renewed_ms = await store.register(NODE, 5)
    await (store.leave(NODE) if end == "leave" else store.bury(NODE.id))
    over = await store.snapshot()
    for known_ms in (renewed_ms, over.leases[NODE.id].renewed_ms):
        assert await store.heartbeat(NODE, 5, known_ms, known=None) is None
    with pytest.raises(DeclaredDead, match=NODE.id):
        await store.register(NODE, 5)
    assert (await store.snapshot()).leases == over.leases


async def test_a_node_that_is_started_again_is_another_one(store: Store) -> None:
    await store.register(NODE, 5)
    await store.bury(NODE.id)
    again = replace(NODE, id="node-1-fghij")
    await store.register(again, 5)
    assert (await store.snapshot()).leases[again.id].node == again


# Pruning, and records.


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


async def test_only_its_owner_retires_a_shard(store: Store) -> None:
    await store.register(NODE, 5)
    owner = await store.claim("abcde", ShardOwner(NODE.id, 3), 0)
    assert await store.retire("abcde", ShardOwner(NODE.id, 2)) == owner
    assert await store.retire("abcde", ShardOwner(OTHER.id, 3)) == owner
    before = (await store.snapshot()).version
    assert await store.retire("abcde", owner) == NO_OWNER
    assert await store.retire("abcde", owner) == NO_OWNER
    after = await store.snapshot()
    assert (after.shards, after.version) == ({}, before + 1)
    assert await store.claim("abcde", ShardOwner(OTHER.id, 4), 0) == ShardOwner(OTHER.id, 4)


async def test_a_session_record_is_read_as_it_was_written(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    assert await store.load_session(RECORD.id) == RECORD
    assert [record async for record in store.sessions()] == [RECORD]


@pytest.mark.parametrize("field", ["protocol", "client", "endpoint", "log_level"])
async def test_half_a_character_in_what_somebody_says_keeps_nothing_from_being_written(
    store: Store, field: str
) -> None:
    said: dict[str, Any] = {field: "de\ud800bug"}
    odd, other = replace(RECORD, **said), replace(RECORD, id=ABSENT)
    assert await store.save_sessions([odd, other], ttl_seconds=60) == {}
    assert await store.load_session(other.id) == other
    read = await store.load_session(odd.id)
    assert read is not None
    said[field] = getattr(RECORD, field)
    assert replace(read, **said) == RECORD


async def test_what_a_record_no_longer_says_is_not_read_any_more(store: Store) -> None:
    said = replace(
        RECORD, endpoint="/mcp", incarnation=2, log_level="info", subscriptions=("file:///a",), has_stream=True
    )
    await store.save_session(said, ttl_seconds=60)
    assert await store.load_session(RECORD.id) == said
    less = SessionRecord(RECORD.id, NODE.id, 1.0, 2.0, epoch=RECORD.epoch)
    await store.save_session(less, ttl_seconds=60)
    assert await store.load_session(RECORD.id) == less


async def test_a_deleted_record_is_gone_and_deleting_says_whether_it_was_there(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.DONE
    assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.MISSING
    assert await store.load_session(RECORD.id) is None
    assert [record async for record in store.sessions()] == []


async def test_touching_renews_what_is_there_and_names_what_is_missing(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    touches = [Touch(RECORD.id, RECORD.epoch, 1_700_000_099.5), Touch(ABSENT, 1, 1.0)]
    assert await store.touch_sessions(touches, ttl_seconds=60) == {ABSENT: Written.MISSING}
    assert await store.load_session(RECORD.id) == replace(RECORD, last_seen=1_700_000_099.5)
    assert await store.load_session(ABSENT) is None


# Epochs of records.


async def test_a_record_of_a_later_epoch_is_not_written_over(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    older, other = replace(RECORD, epoch=RECORD.epoch - 1, client="older"), replace(RECORD, id=ABSENT, epoch=1)
    assert await store.save_session(older, ttl_seconds=60) is Written.REFUSED
    assert await store.save_sessions([older, other], ttl_seconds=60) == {RECORD.id: Written.REFUSED}
    assert await store.load_session(RECORD.id) == RECORD
    assert await store.load_session(ABSENT) == other


@pytest.mark.parametrize("later", [0, 1])
async def test_a_record_of_the_same_epoch_or_an_older_one_is_written_over(store: Store, later: int) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    newer = replace(RECORD, epoch=RECORD.epoch + later, client="newer", node_id=OTHER.id)
    assert await store.save_session(newer, ttl_seconds=60) is Written.DONE
    assert await store.load_session(RECORD.id) == newer


async def test_the_first_touch_of_a_new_owner_fences_the_one_before(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    assert await store.touch_sessions([Touch(RECORD.id, RECORD.epoch + 1, 2.0)], ttl_seconds=60) == {}
    raised = replace(RECORD, epoch=RECORD.epoch + 1, last_seen=2.0)
    assert await store.load_session(RECORD.id) == raised
    late = Touch(RECORD.id, RECORD.epoch, 3.0)
    assert await store.touch_sessions([late], ttl_seconds=60) == {RECORD.id: Written.REFUSED}
    assert await store.save_session(RECORD, ttl_seconds=60) is Written.REFUSED
    assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.REFUSED
    assert await store.load_session(RECORD.id) == raised


@pytest.mark.parametrize("was_there", [True, False], ids=["on record", "lost"])
@pytest.mark.parametrize("older", [0, 1])
async def test_a_removed_record_does_not_come_back(store: Store, was_there: bool, older: int) -> None:
    """Not from a node that was paused, and not where the store had lost it when it was removed."""
    if was_there:
        await store.save_session(RECORD, ttl_seconds=60)
    await store.delete_session(RECORD.id, RECORD.epoch)
    writer = replace(RECORD, epoch=RECORD.epoch - older)
    assert await store.save_session(writer, ttl_seconds=60) is Written.REFUSED
    assert await store.touch_sessions([Touch(RECORD.id, writer.epoch, 2.0)], 60) == {RECORD.id: Written.REFUSED}
    assert await store.load_session(RECORD.id) is None
    assert [record async for record in store.sessions()] == []


async def test_what_an_owner_of_old_removed_is_written_by_the_owner_that_holds_it(store: Store) -> None:
    await store.delete_session(RECORD.id, RECORD.epoch - 1)
    assert await store.touch_sessions([Touch(RECORD.id, RECORD.epoch, 2.0)], 60) == {RECORD.id: Written.MISSING}
    assert await store.save_session(RECORD, ttl_seconds=60) is Written.DONE
    assert await store.load_session(RECORD.id) == RECORD
    assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.DONE
    assert await store.save_session(RECORD, ttl_seconds=60) is Written.REFUSED


async def test_removing_twice_remembers_the_later_epoch(store: Store) -> None:
    assert await store.delete_session(RECORD.id, RECORD.epoch) is Written.MISSING
    assert await store.delete_session(RECORD.id, RECORD.epoch - 1) is Written.MISSING
    assert await store.save_session(RECORD, ttl_seconds=60) is Written.REFUSED


async def test_that_a_record_was_removed_is_forgotten_after_a_while() -> None:
    now = 1_000.0
    store = MemoryStore(now=lambda: now)
    await store.delete_session(RECORD.id, RECORD.epoch)
    now += REMOVED_SECONDS + 1
    assert await store.save_session(RECORD, ttl_seconds=60) is Written.DONE
    assert store._removed == {}


@pytest.mark.parametrize("flavour", SERVERS)
async def test_records_in_redis_that_are_old_removed_or_junk(flavour: str) -> None:
    async with real_redis("valkey" if flavour == "valkey" else "redis") as server, server.client() as client:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        key = f"mcp:session:{{{RECORD.id}}}"
        await client.hset(key, mapping={"node": NODE.id, "created": "1.5", "last_seen": "2.5"})
        found = await store.load_session(RECORD.id)
        assert found == SessionRecord(RECORD.id, NODE.id, 1.5, 2.5)
        assert await store.save_session(replace(RECORD, epoch=0), ttl_seconds=60) is Written.DONE
        await store.delete_session(RECORD.id, 0)
        assert await client.hgetall(key) == {"epoch": "0", "removed": "1"}
        assert 0 < await client.ttl(key) <= REMOVED_SECONDS
        for junk in ({"epoch": "many", "client": "x"}, {"epoch": "-7"}, {"epoch": "9" * 40, "created": "1"}):
            await client.delete(key)
            await client.hset(key, mapping=junk)
            await store.touch_sessions([Touch(RECORD.id, 1, 2.0)], 60)
            assert await store.save_session(RECORD, ttl_seconds=60) is Written.DONE
            assert await store.load_session(RECORD.id) == RECORD
        await client.set(key, "a text, where a hash should be")
        assert await store.touch_sessions([Touch(RECORD.id, 1, 2.0)], 60) == {RECORD.id: Written.MISSING}
        assert await store.save_session(RECORD, ttl_seconds=60) is Written.DONE
        await store.aclose()


async def test_many_records_are_written_and_listed(store: Store) -> None:
    records = [replace(RECORD, id=f"abcde.{n:022d}.BBBBBBBBBBB") for n in range(501)]
    await store.save_sessions(records, ttl_seconds=60)
    assert {record.id async for record in store.sessions()} == {record.id for record in records}
    ten = [record.id for record in records[120:130]]
    assert sorted([record.id async for record in store.sessions(ten[0][:-13])]) == ten
    assert {start async for start in store.session_starts()} == {(record.id, record.created) for record in records}


async def test_what_was_removed_has_no_start(store: Store) -> None:
    await store.save_session(RECORD, ttl_seconds=60)
    await store.delete_session(RECORD.id, RECORD.epoch)
    assert [start async for start in store.session_starts()] == []
