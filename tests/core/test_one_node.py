"""Which paths go to one node, and to which."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo, NodeState
from mooring.core.one_node import OneNodePaths, decide_for_one, one_of
from mooring.core.ownership import ClusterView
from mooring.core.routing import HOLD, OPEN, Forward
from tests.core.views import ME, NODE_IDS, PEERS, a_node, a_view, views


def _started(node_id: str, started: float) -> NodeInfo:
    return replace(a_node(node_id), started=started, endpoints=("/mcp",))


@pytest.mark.parametrize(
    ("path", "is_covered"),
    [
        ("/token", True),
        ("/token/", True),
        ("/tokens", False),
        ("/token/x", False),
        ("/jobs", False),
        ("/jobs/", True),
        ("/jobs/1/2", True),
        ("/jobsite", False),
        ("/", False),
        ("", False),
    ],
)
def test_a_path_is_itself_and_one_with_a_star_is_all_below(path: str, is_covered: bool) -> None:
    assert OneNodePaths(["/token", "/jobs/*", "/token"]).cover(path) == is_covered


def test_the_star_alone_is_everything_and_no_path_is_nothing() -> None:
    assert OneNodePaths(["/*"]).cover("/any/thing")
    assert not OneNodePaths([]).cover("/")
    assert OneNodePaths(["/a", "/b", "/a"]).known == ("/a", "/b")


@given(views)
def test_every_node_finds_the_same_one_and_it_can_serve(drawn: ClusterView) -> None:
    nodes = {
        node_id: replace(node, info=replace(node.info, endpoints=("/mcp",))) for node_id, node in drawn.nodes.items()
    }
    view = replace(drawn, nodes=nodes)
    node = one_of(view)
    for node_id in NODE_IDS:
        decision = decide_for_one(node_id, view, has_lapsed=False)
        assert decision == (OPEN if node is None or node.id == node_id else Forward(node))
    if node is not None:
        assert view.is_alive(node.id)
        assert node.state in TAKES_NEW_SESSIONS


def test_a_node_that_joins_changes_nothing_and_one_that_goes_hands_over() -> None:
    first, second, third = (_started(node_id, float(n)) for n, node_id in enumerate(NODE_IDS))
    assert one_of(a_view(second)) == second
    assert one_of(a_view(second, third)) == second
    assert one_of(a_view(first, second, third, dead=(first.id,))) == second
    assert one_of(a_view(replace(first, state=NodeState.DRAINING), second, third)) == second
    full = replace(first, sessions=1000)
    assert one_of(a_view(full, second)) == full
    assert one_of(a_view(replace(first, url=""), second)) == second
    apart = replace(first, url="", peer_link="redis")
    assert one_of(a_view(apart, second)) == apart
    assert one_of(a_view(replace(first, endpoints=()), second)) == second  # of an older version


def test_a_node_whose_lease_is_over_serves_none_of_it() -> None:
    other = _started(PEERS[0], 1.0)
    assert decide_for_one(ME, a_view(_started(ME, 0.0), other), has_lapsed=True) == HOLD
    assert decide_for_one(ME, a_view(_started(ME, 2.0), other), has_lapsed=True) == Forward(other)
    assert decide_for_one(ME, a_view(), has_lapsed=False) == OPEN
