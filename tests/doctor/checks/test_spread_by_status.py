from __future__ import annotations

from typing import Any

import pytest

from mooring.doctor.checks.spread_by_status import judge_by_status
from mooring.doctor.evidence.cluster_status import parse_status
from mooring.doctor.findings import Verdict
from tests.doctor.status_pages import DEAD, EVEN, GONE, NODES, answered, node_on_page, page_with


def show(text: object, longest: int) -> str:
    return str(text)[:longest]


@pytest.mark.parametrize(
    ("page", "ids", "verdict", "says"),
    [
        (page_with(*NODES), EVEN, Verdict.OK, "20 sessions spread over 3 nodes: 7, 7, 6"),
        (page_with(*NODES, GONE), EVEN, Verdict.OK, "20 sessions spread over 3 nodes: 7, 7, 6"),
        (page_with(NODES[0]), ["aaaaa.1", "aaaaa.2"], Verdict.OK, "one node, node-1, has all 2 sessions"),
        (page_with(*NODES), EVEN[:4], Verdict.UNKNOWN, "4 sessions on 3 nodes are too few to tell: 2, 1, 1"),
        (
            page_with(*NODES),
            [session for session in EVEN * 2 if session < "c"],
            Verdict.WARNING,
            "node-3 gets none of 28 new sessions",
        ),
        (
            page_with(*NODES),
            ["aaaaa.1"] * 20,
            Verdict.WARNING,
            "all 20 new sessions are on node-1, though 3 nodes are there",
        ),
        (
            page_with(*NODES[:2], node_on_page("node-3", state="draining")),
            EVEN[:2] * 10,
            Verdict.OK,
            "20 sessions spread over 2 nodes: 10, 10",
        ),
        (page_with(*NODES), ["z"] * 3, Verdict.UNKNOWN, "none of the sessions is on a node of that status page"),
        (
            page_with(*NODES, DEAD),
            [*EVEN, "ddddd.1"],
            Verdict.UNKNOWN,
            "1 of 21 sessions are on no node of that status page",
        ),
        (
            page_with(*NODES[:2], node_on_page("node-3", "ccccc", state="degraded")),
            EVEN,
            Verdict.WARNING,
            "1 of 3 nodes cannot reach the store",
        ),
        (page_with(*NODES, degraded="refused"), EVEN, Verdict.WARNING, "1 of 3 nodes cannot reach the store"),
        (
            page_with(*NODES[:2], node_on_page("node-3", "ccccc", version="0.2.0")),
            EVEN,
            Verdict.WARNING,
            "the nodes run different versions of Mooring: 0.1.0, 0.2.0",
        ),
    ],
)
def test_what_is_said_of_a_status_page(page: dict[str, Any], ids: list[str], verdict: Verdict, says: str) -> None:
    finding = judge_by_status(parse_status(answered(page)), ids, show)
    assert (finding.verdict, finding.says) == (verdict, says)
    assert len(finding.says) <= 90
    assert bool(finding.changes) is (verdict is not Verdict.OK)


def test_nodes_that_are_not_as_usual_are_remarked_on() -> None:
    page = parse_status(answered(page_with(*NODES, node_on_page("node-6", state="starting"), DEAD, GONE)))
    finding = judge_by_status(page, EVEN, show)
    assert (finding.verdict, finding.why) == (Verdict.OK, "node-6 is starting; node-4 is dead.")
    assert finding.evidence["sessions_by_node"] == {"node-1": 7, "node-2": 7, "node-3": 6}
    assert [node["state"] for node in finding.evidence["nodes"]] == ["ready"] * 3 + ["starting", "dead", "gone"]


def test_nodes_of_the_same_name_are_called_by_their_ids() -> None:
    page = parse_status(
        answered(page_with(node_on_page("web", "aaaaa", id="web-1"), node_on_page("web", "bbbbb", id="web-2")))
    )
    finding = judge_by_status(page, ["aaaaa.1"] * 20, show)
    assert finding.says == "all 20 new sessions are on web-1, though 2 nodes are there"
