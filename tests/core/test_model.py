from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core import model
from mooring.core.model import CHANGES_PER_LIFE, NODE_MOVES, TAKES_NEW_SESSIONS, NodeState, life_of, move, share_secrets
from mooring.errors import IllegalMove

PROPERTY = settings(deadline=None, max_examples=100)

EVERY_PAIR = [(current, following) for current in NodeState for following in NodeState]
LEGAL = [(current, following) for current, following in EVERY_PAIR if following in NODE_MOVES[current]]
ILLEGAL = [pair for pair in EVERY_PAIR if pair not in LEGAL]


def documented_moves() -> dict[str, set[str]]:
    """The table in the module's docstring."""
    rows = re.findall(r"^    (\w+) {2,}\S.*? {2,}(\S.*)$", model.__doc__ or "", re.MULTILINE)
    return {state: set(re.findall(r"\w+", following)) for state, following in rows if state != "state"}


def test_the_documented_table_is_the_table() -> None:
    assert documented_moves() == {str(state): set(map(str, moves)) for state, moves in NODE_MOVES.items()}


def test_every_state_is_in_the_table() -> None:
    assert set(NODE_MOVES) == set(NodeState)


@pytest.mark.parametrize(("current", "following"), LEGAL)
def test_a_legal_move_leads_there(current: NodeState, following: NodeState) -> None:
    assert move(current, following) is following


@pytest.mark.parametrize(("current", "following"), ILLEGAL)
def test_any_other_move_raises_and_names_both_states(current: NodeState, following: NodeState) -> None:
    with pytest.raises(IllegalMove, match=f"{current} cannot become {following}"):
        move(current, following)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("old", "old", True),
        ("old", "old,new", True),
        ("old,new", "new,old", True),
        ("new,old", "new", True),
        ("old", "new", False),
        ("old", "new,old", False),
        ("old,new", "new", False),
        ("old", "", True),
        ("", "", True),
    ],
)
def test_nodes_understand_each_other_where_each_knows_the_others_first_secret(
    one: str, other: str, expected: bool
) -> None:
    assert share_secrets(one, other) is share_secrets(other, one) is expected


def test_gone_is_final_and_can_be_reached_from_everywhere() -> None:
    assert NODE_MOVES[NodeState.GONE] == frozenset()
    assert all(NodeState.GONE in moves for state, moves in NODE_MOVES.items() if state is not NodeState.GONE)


def test_draining_is_never_undone() -> None:
    assert NODE_MOVES[NodeState.DRAINING] == {NodeState.GONE}


def test_only_a_node_that_is_up_and_stays_takes_new_sessions() -> None:
    assert {NodeState.READY, NodeState.DEGRADED} == TAKES_NEW_SESSIONS


@PROPERTY
@given(st.integers(1, 2**33), st.integers(1, CHANGES_PER_LIFE - 1))
def test_a_store_that_was_filled_at_another_second_is_told_by_any_version_of_its_shards(
    second: int, changes: int
) -> None:
    version = second * CHANGES_PER_LIFE + changes
    assert life_of(version) == second
    assert life_of(version + CHANGES_PER_LIFE) != life_of(version)


def test_a_store_without_shards_has_a_life_of_its_own() -> None:
    assert life_of(0) == 0
