"""Who takes what: never more than there is room for, and never back and forth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.balance import NOTICEABLE, Dealer, is_fuller, shards_to_move
from mooring.core.model import NodeState
from tests.core.views import ME, NODE_IDS, PEERS, a_node, a_view

PROPERTY = settings(deadline=None, max_examples=200)
PEER, OTHER = PEERS


def test_a_dealer_counts_what_it_dealt() -> None:
    view = a_view(a_node(ME), a_node(PEER), a_node(OTHER, sessions=5))
    dealer = Dealer(ME)
    names = []
    for _ in range(3):
        receiver = dealer.receiver(view)
        assert receiver is not None
        names.append(receiver.id)
        dealer.dealt(receiver, 6)
    assert names == [PEER, OTHER, PEER]


@pytest.mark.parametrize("state", [NodeState.DRAINING, NodeState.STARTING, NodeState.GONE, NodeState.UNKNOWN])
def test_nobody_is_given_anything_who_takes_nothing(state: NodeState) -> None:
    assert Dealer(ME).receiver(a_view(a_node(ME), a_node(PEER, state))) is None
    assert Dealer(ME).receiver(a_view(a_node(ME), a_node(PEER), dead=(PEER,))) is None


def test_who_is_full_is_given_something_where_nobody_else_is_ready() -> None:
    full, fuller = a_node(PEER, sessions=100), a_node(OTHER, sessions=120)
    assert Dealer(ME).receiver(a_view(a_node(ME), full, fuller)) == full
    room = a_node(OTHER, sessions=99)
    assert Dealer(ME).receiver(a_view(a_node(ME), full, room)) == room


def test_fuller_is_by_share_of_the_capacity_and_not_by_a_few() -> None:
    assert is_fuller(30, 100, a_node(PEER, sessions=10))
    assert not is_fuller(30, 100, a_node(PEER, sessions=300, capacity=1000))
    assert not is_fuller(NOTICEABLE, 100, a_node(PEER))
    assert is_fuller(300, 10_000, a_node(PEER, capacity=10_000))


@pytest.mark.parametrize(
    ("mine", "theirs", "capacity", "expected"),
    [
        (30, 0, 10_000, False),  # it may have twenty by now
        (31, 0, 10_000, True),
        (300, 150, 10_000, False),  # or nearly twice as many
        (300, 130, 10_000, True),
        (9_500, 7_400, 10_000, False),  # and no more than a twenty-fifth of what it takes
        (9_500, 7_100, 10_000, True),
        (40, 20, 40, True),
    ],
)
def test_of_a_peer_that_is_known_from_heartbeats_it_is_said_only_if_it_is_sure(
    mine: int, theirs: int, capacity: int, expected: bool
) -> None:
    assert is_fuller(mine, capacity, a_node(PEER, sessions=theirs, capacity=capacity), is_vague=True) is expected


held = st.dictionaries(st.sampled_from(["aaaaa", "bbbbb", "ccccc", "ddddd"]), st.integers(0, 40))
others = st.lists(st.tuples(st.integers(0, 99), st.integers(100, 200)), max_size=2)


@PROPERTY
@given(held, others, st.integers(0, 30))
def test_a_node_gives_no_more_than_it_has_above_the_mean_and_nobody_gets_more_than_is_missing(
    held: dict[str, int], others: list[tuple[int, int]], busy: int
) -> None:
    me = a_node(ME, sessions=sum(held.values()) + busy, capacity=200)
    peers = [a_node(node_id, sessions=load[0], capacity=load[1]) for node_id, load in zip(PEERS, others, strict=False)]
    moves = shards_to_move(held, me, a_view(me, *peers))
    assert len({shard for shard, _ in moves}) == len(moves)
    mean = (me.sessions + sum(peer.sessions for peer in peers)) / (200 + sum(peer.capacity for peer in peers))
    assert me.sessions - sum(held[shard] for shard, _ in moves) >= min(me.sessions, mean * 200) - 1e-9
    for peer in peers:
        got = sum(held[shard] for shard, receiver in moves if receiver.id == peer.id)
        assert got == 0 or peer.sessions + got <= mean * peer.capacity + 1e-9


def test_a_new_node_gets_its_part_from_each() -> None:
    nodes = [a_node(node_id, sessions=load) for node_id, load in zip(NODE_IDS, (80, 80, 0), strict=True)]
    view = a_view(*nodes)
    for me in nodes[:2]:
        moves = shards_to_move({f"{me.id[-7]}{n}": 10 for n in range(8)}, me, view)
        assert [receiver.id for _, receiver in moves] == [nodes[2].id, nodes[2].id]


def test_an_even_cluster_stays_as_it_is() -> None:
    me = a_node(ME, sessions=40)
    assert shards_to_move({"aaaaa": 5, "bbbbb": 1}, me, a_view(me, a_node(PEER, sessions=36))) == []
    alone = replace(me, sessions=90)
    assert shards_to_move({"aaaaa": 90}, alone, a_view(alone)) == []
