from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.balance import UNLIKELY, Balance, tail
from mooring.doctor.evidence.node_marks import MarkKind, MarkSource, NodeMarks

HEADER = MarkSource(MarkKind.HEADER, "X-Served-By")


def served_by(node: str) -> Reply:
    return Reply(status=200, headers=CIMultiDictProxy(CIMultiDict({"X-Served-By": node})))


def opened(**counts: int) -> NodeMarks:
    return NodeMarks(HEADER, tuple(node for node, count in counts.items() for _ in range(count)))


def test_the_tail_is_that_of_the_binomial_distribution() -> None:
    assert tail(0, 20, 3) == pytest.approx((2 / 3) ** 20)
    assert tail(1, 2, 2) == pytest.approx(0.75)
    assert tail(20, 20, 3) == pytest.approx(1.0)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(2, 20))
def test_the_tail_is_a_chance(most: int, sessions: int, nodes: int) -> None:
    assert 0 <= tail(min(most, sessions), sessions, nodes) <= 1 + 1e-9


@given(st.integers(2, 12))
def test_so_many_sessions_are_needed_and_no_fewer(nodes: int) -> None:
    needed = Balance(dict.fromkeys(map(str, range(nodes)), 0)).sessions_needed
    assert nodes * tail(0, needed, nodes) <= UNLIKELY * (1 + 1e-9)
    assert nodes * tail(0, needed - 1, nodes) > UNLIKELY


def test_nodes_at_random_are_practically_never_taken_for_starved() -> None:
    """Exactly, over all ways in which 20 sessions can meet 3 nodes."""
    starving = 0.0
    for first in range(21):
        for second in range(21 - first):
            counts = {"a": first, "b": second, "c": 20 - first - second}
            if Balance(counts).starved:
                starving += _chance(*counts.values())
    assert starving < UNLIKELY


def _chance(*counts: int) -> float:
    """That just these counts come about."""
    ways = math.factorial(sum(counts)) // math.prod(map(math.factorial, counts))
    return float(ways / len(counts) ** sum(counts))


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=40), st.sets(st.sampled_from(["a", "d"])))
def test_every_node_that_answers_is_counted(nodes: list[str], also: set[str]) -> None:
    balance = Balance.of(NodeMarks(HEADER, tuple(nodes)), [served_by(node) for node in also])
    assert set(balance.counts) == set(nodes) | also
    assert balance.sessions == len(nodes)


def test_another_paths_nodes_count_only_where_it_shares_one() -> None:
    found = opened(a=10, b=10)
    assert set(Balance.of(found, [], [served_by("c"), served_by("a")]).counts) == {"a", "b", "c"}
    assert set(Balance.of(found, [], [served_by("c"), served_by("d")]).counts) == {"a", "b"}
    assert set(Balance.of(found, [], [Reply()]).counts) == {"a", "b"}
