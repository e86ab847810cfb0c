from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.model import Lease, NodeInfo, NodeState, ShardOwner, Snapshot
from mooring.core.ownership import ClusterView, NodeView, advance
from tests.core.views import ME, NODE_IDS, PEERS, SHARDS, a_node, a_view, node_ids, snapshots, views

PROPERTY = settings(deadline=None, max_examples=100)
PEER = PEERS[0]


def a_snapshot(now_ms: int, *nodes: NodeInfo, until_ms: int, owners: Mapping[str, str] | None = None) -> Snapshot:
    leases = {node.id: Lease(node, until_ms, until_ms - 5_000, is_over=until_ms <= now_ms) for node in nodes}
    shards = {shard: ShardOwner(owner, 1) for shard, owner in (owners or {}).items()}
    return Snapshot(now_ms, 1, leases, shards)


# Rule 1: time is the store's.


@PROPERTY
@given(views, snapshots)
def test_outside_the_grace_a_node_is_alive_while_the_store_says_its_lease_is(
    view: ClusterView, snapshot: Snapshot
) -> None:
    after = advance(view, snapshot, in_grace=False)
    assert set(after.nodes) == set(snapshot.leases)
    for node_id, lease in snapshot.leases.items():
        said_goodbye = lease.node.state is NodeState.GONE
        assert after.nodes[node_id] == NodeView(lease.node, not lease.is_over and not said_goodbye)


@PROPERTY
@given(views, snapshots, st.booleans(), st.integers(-(10**12), 10**12))
def test_what_any_clock_shows_does_not_matter(
    view: ClusterView, snapshot: Snapshot, in_grace: bool, ahead_ms: int
) -> None:
    """The times of leases may be those of an earlier snapshot: only whether they are over is of this one."""
    leases = {
        # 0 is no time: it says that the node's end is on record.
        node_id: replace(lease, until_ms=lease.until_ms and (lease.until_ms + ahead_ms or 1), renewed_ms=ahead_ms)
        for node_id, lease in snapshot.leases.items()
    }
    other = replace(snapshot, now_ms=snapshot.now_ms + ahead_ms, leases=leases)
    assert advance(view, snapshot, in_grace=in_grace) == advance(view, other, in_grace=in_grace)


@PROPERTY
@given(views, snapshots)
def test_outside_the_grace_the_store_says_who_owns_what(view: ClusterView, snapshot: Snapshot) -> None:
    after = advance(view, snapshot, in_grace=False)
    assert after.shards == snapshot.shards


@PROPERTY
@given(views, snapshots, st.booleans())
def test_the_version_is_the_snapshots(view: ClusterView, snapshot: Snapshot, in_grace: bool) -> None:
    assert advance(view, snapshot, in_grace=in_grace).version == snapshot.version


# Rule 2: absence is not evidence.


@PROPERTY
@given(views, snapshots)
def test_in_the_grace_a_node_dies_of_nothing_but_an_end_on_record(view: ClusterView, snapshot: Snapshot) -> None:
    after = advance(view, snapshot, in_grace=True)
    for node_id, node in view.nodes.items():
        lease = snapshot.leases.get(node_id)
        ended = lease is not None and (lease.node.state is NodeState.GONE or lease.until_ms == 0)
        if node.alive:
            assert after.nodes[node_id].alive is not ended


@PROPERTY
@given(views, snapshots)
def test_in_the_grace_those_are_known_who_were_alive_or_are_on_record(view: ClusterView, snapshot: Snapshot) -> None:
    after = advance(view, snapshot, in_grace=True)
    assert set(after.nodes) == {node_id for node_id, node in view.nodes.items() if node.alive} | set(snapshot.leases)


@PROPERTY
@given(views, snapshots)
def test_the_grace_wakes_nobody(view: ClusterView, snapshot: Snapshot) -> None:
    """Who was not alive before is alive after only by a lease."""
    after = advance(view, snapshot, in_grace=True)
    for node_id, node in after.nodes.items():
        before = view.nodes.get(node_id)
        if node.alive and not (before is not None and before.alive):
            lease = snapshot.leases[node_id]
            assert not lease.is_over
            assert lease.node.state is not NodeState.GONE


@PROPERTY
@given(views, snapshots)
def test_in_the_grace_what_a_node_said_last_stands(view: ClusterView, snapshot: Snapshot) -> None:
    after = advance(view, snapshot, in_grace=True)
    for node_id, node in after.nodes.items():
        lease = snapshot.leases.get(node_id)
        assert node.info == (view.nodes[node_id].info if lease is None else lease.node)


@PROPERTY
@given(views, snapshots)
def test_in_the_grace_a_missing_shard_keeps_its_owner(view: ClusterView, snapshot: Snapshot) -> None:
    after = advance(view, snapshot, in_grace=True)
    missing = {shard: owner for shard, owner in view.shards.items() if shard not in snapshot.shards}
    assert missing.items() <= after.shards.items()


@PROPERTY
@given(views, snapshots)
def test_in_the_grace_epochs_never_go_backwards(view: ClusterView, snapshot: Snapshot) -> None:
    after = advance(view, snapshot, in_grace=True)
    told = snapshot.shards
    for shard in SHARDS:
        candidates = [shards[shard] for shards in (view.shards, told) if shard in shards]
        if candidates:
            # At the same epoch the store's word stands.
            assert after.shards[shard] == max(reversed(candidates), key=lambda owner: owner.epoch)
        else:
            assert shard not in after.shards


def test_at_the_same_epoch_the_stores_word_stands() -> None:
    view = a_view(a_node(ME), a_node(PEER), owners={"aaaaa": ME})
    after = advance(view, a_snapshot(9_000, until_ms=10_000, owners={"aaaaa": PEER}), in_grace=True)
    assert after.shards == {"aaaaa": ShardOwner(PEER, 1)}


@PROPERTY
@given(views, snapshots, st.booleans())
def test_a_goodbye_always_wins(view: ClusterView, snapshot: Snapshot, in_grace: bool) -> None:
    after = advance(view, snapshot, in_grace=in_grace)
    for node_id, lease in snapshot.leases.items():
        if lease.node.state is NodeState.GONE:
            assert not after.is_alive(node_id)


@PROPERTY
@given(views, st.lists(st.tuples(snapshots, st.booleans()), max_size=5))
def test_a_node_that_nobody_ever_saw_alive_is_never_alive(
    view: ClusterView, story: list[tuple[Snapshot, bool]]
) -> None:
    seen = {node_id for node_id, node in view.nodes.items() if node.alive}
    for snapshot, in_grace in story:
        view = advance(view, snapshot, in_grace=in_grace)
        seen |= {node_id for node_id, lease in snapshot.leases.items() if not lease.is_over}
        assert {node.id for node in view.alive()} <= seen


def test_a_store_that_comes_back_empty_takes_no_one_from_us() -> None:
    view = a_view(a_node(ME), a_node(PEER), owners={"aaaaa": ME, "bbbbb": PEER})
    after = advance(view, a_snapshot(99_000, until_ms=0), in_grace=True)
    assert [node.id for node in after.alive()] == [ME, PEER]
    assert after.shards == view.shards


def test_a_store_that_comes_back_old_takes_no_one_from_us() -> None:
    view = a_view(a_node(ME), a_node(PEER), owners={"aaaaa": ME, "bbbbb": PEER})
    old = a_snapshot(99_000, a_node(PEER), until_ms=3_000, owners={"aaaaa": PEER})
    after = advance(
        replace(view, shards={"aaaaa": ShardOwner(ME, 2), "bbbbb": ShardOwner(PEER, 1)}), old, in_grace=True
    )
    assert after.is_alive(PEER)
    assert after.shards == {"aaaaa": ShardOwner(ME, 2), "bbbbb": ShardOwner(PEER, 1)}


def test_who_has_not_come_back_when_the_grace_is_over_is_dead() -> None:
    view = a_view(a_node(ME), a_node(PEER), owners={"aaaaa": ME, "bbbbb": PEER})
    back = a_snapshot(99_000, a_node(ME), until_ms=104_000, owners={"aaaaa": ME})
    in_grace = advance(view, back, in_grace=True)
    assert in_grace.is_alive(PEER)
    after = advance(in_grace, back, in_grace=False)
    assert not after.is_alive(PEER)
    assert after.shards == {"aaaaa": ShardOwner(ME, 1)}


# What others know.


@PROPERTY
@given(views, node_ids)
def test_a_view_without_a_node_is_the_same_for_everyone_else(view: ClusterView, node_id: str) -> None:
    after = view.without(node_id)
    assert not after.is_alive(node_id)
    for other in set(NODE_IDS) - {node_id}:
        assert after.is_alive(other) == view.is_alive(other)
    assert after.shards == view.shards


def test_who_saw_a_process_end_knows_more_than_its_lease() -> None:
    view = a_view(a_node(ME), a_node(PEER))
    assert not view.without(PEER).is_alive(PEER)
    assert view.without(PEER).is_alive(ME)
    assert view.without("stranger-aaaaa") is view


@pytest.mark.parametrize(("epoch", "believed"), [(1, False), (2, False), (3, True)])
def test_what_a_peer_says_of_a_shard_counts_where_it_is_newer(epoch: int, believed: bool) -> None:
    view = ClusterView(shards={SHARDS[0]: ShardOwner(ME, 2)})
    learned = view.learned(SHARDS[0], ShardOwner(PEER, epoch))
    assert learned.owner_of(SHARDS[0]) == (ShardOwner(PEER, epoch) if believed else ShardOwner(ME, 2))
    assert learned.learned(SHARDS[1], ShardOwner(PEER, 1)).owner_of(SHARDS[1]) == ShardOwner(PEER, 1)


# What the view answers.


@PROPERTY
@given(views)
def test_the_alive_are_those_whose_lease_is(view: ClusterView) -> None:
    alive = {node_id for node_id, node in view.nodes.items() if node.alive}
    assert {node.id for node in view.alive()} == alive
    assert {node_id for node_id in NODE_IDS if view.is_alive(node_id)} == alive
    named = [(node.name, node.started) for node in view.alive()]
    assert named == sorted(named)


@PROPERTY
@given(views)
def test_every_shard_is_its_owners(view: ClusterView) -> None:
    owned = {shard: node_id for node_id in NODE_IDS for shard in view.shards_of(node_id)}
    assert owned == {shard: owner.node_id for shard, owner in view.shards.items()}
    for shard in SHARDS:
        assert view.owner_of(shard) == view.shards.get(shard)


@PROPERTY
@given(views)
def test_new_sessions_go_to_nodes_that_are_up_and_have_room(view: ClusterView) -> None:
    for node in view.nodes.values():
        up = node.alive and node.info.state in (NodeState.READY, NodeState.DEGRADED)
        assert node.takes_new_sessions == (up and node.info.sessions < node.info.capacity)


@PROPERTY
@given(views, snapshots, st.booleans())
def test_a_view_is_never_changed_in_place(view: ClusterView, snapshot: Snapshot, in_grace: bool) -> None:
    before = ClusterView(view.version, dict(view.nodes), dict(view.shards))
    advance(view, snapshot, in_grace=in_grace)
    view.without(PEER)
    view.learned(SHARDS[0], ShardOwner(PEER, 99))
    assert view == before


# Who else is at a node's URL.

HERE = "http://10.0.0.7:8000"


@pytest.mark.parametrize(
    ("what", "other", "shares"),
    [
        ("an older one died there without a goodbye", {"url": HERE, "started": 1.0}, False),
        ("a younger one", {"url": HERE, "started": 3.0}, True),
        ("one of the same moment with a later id", {"url": HERE, "started": 2.0}, True),
        ("an older one that shares", {"url": "http://10.0.0.7:41234", "client_url": HERE, "started": 1.0}, True),
        ("one elsewhere", {"url": "http://10.0.0.8:8000", "started": 3.0}, False),
        ("one whose entry does not read", {"url": "", "started": 3.0}, False),
    ],
)
def test_a_url_is_shared_where_another_node_that_lives_surely_answers_there(
    what: str, other: dict[str, Any], shares: bool
) -> None:
    me, peer = replace(a_node(ME), url=HERE, started=2.0), replace(a_node(PEER), **other)
    assert a_view(me, peer).shares_its_url(ME) is shares, what
    assert not a_view(me, peer, dead=(PEER,)).shares_its_url(ME)


def test_nodes_that_do_not_know_where_clients_reach_them_share_nothing() -> None:
    nodes = [replace(a_node(node_id), client_url="") for node_id in (ME, PEER)]
    assert not a_view(*nodes).shares_its_url(ME)
    assert not a_view(nodes[1]).shares_its_url(ME), "not in its own view yet"


# Who takes over what the dead leave.


@PROPERTY
@given(views)
def test_each_orphan_has_exactly_one_heir_whoever_works_it_out(view: ClusterView) -> None:
    dealt = [orphan for node_id in view.nodes for orphan in view.orphans_for(node_id)]
    left = [
        (shard, owner)
        for shard, owner in view.shards.items()
        if owner.node_id in view.nodes
        and not view.is_alive(owner.node_id)
        and view.nodes[owner.node_id].info.sessions > 0
    ]
    heirs = [node for node in view.nodes.values() if node.takes_new_sessions]
    assert sorted(dealt, key=lambda orphan: orphan[0]) == (sorted(left, key=lambda orphan: orphan[0]) if heirs else [])


@PROPERTY
@given(views, st.randoms())
def test_the_order_in_which_a_node_heard_of_things_changes_no_heir(view: ClusterView, chance: Random) -> None:
    nodes, shards = list(view.nodes.items()), list(view.shards.items())
    chance.shuffle(nodes)
    chance.shuffle(shards)
    same = ClusterView(view.version, dict(nodes), dict(shards))
    for node_id in NODE_IDS:
        assert same.orphans_for(node_id) == view.orphans_for(node_id)


@PROPERTY
@given(views)
def test_heirs_are_alive_and_have_room_and_get_about_as_much_each(view: ClusterView) -> None:
    shares = {node_id: len(view.orphans_for(node_id)) for node_id in NODE_IDS}
    heirs = {node_id for node_id, node in view.nodes.items() if node.takes_new_sessions}
    assert {node_id for node_id, share in shares.items() if share} <= heirs
    if heirs:
        dealt = [shares[node_id] for node_id in heirs]
        assert max(dealt) - min(dealt) <= 1


def test_the_least_loaded_takes_the_first_of_them() -> None:
    dead, busy, idle = (
        a_node(node_id, sessions=sessions) for node_id, sessions in zip(NODE_IDS, (5, 9, 1), strict=True)
    )
    view = a_view(dead, busy, idle, dead=(dead.id,), owners=dict.fromkeys(SHARDS, dead.id))
    assert [shard for shard, _ in view.orphans_for(idle.id)] == [SHARDS[0], SHARDS[2]]
    assert [shard for shard, _ in view.orphans_for(busy.id)] == [SHARDS[1]]
    assert view.orphans_for(dead.id) == []


@PROPERTY
@given(views)
def test_the_shards_of_all_nodes_are_those_of_each(view: ClusterView) -> None:
    owned = view.shards_by_node()
    assert owned == {node_id: shards for node_id in NODE_IDS if (shards := view.shards_of(node_id))}
