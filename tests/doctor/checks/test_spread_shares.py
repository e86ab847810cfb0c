"""The verdict on how sessions are shared out, whatever tells the nodes apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.checks.spread_shares import evidence_of, judge_shares
from mooring.doctor.evidence.balance import Balance
from mooring.doctor.findings import Finding, Verdict


def judged(**counts: int) -> Finding:
    balance = Balance(counts)
    names = {node: node for node in counts}
    return judge_shares(balance, names, evidence_of(balance, names, "header X"))


@pytest.mark.parametrize(
    ("counts", "verdict", "says"),
    [
        ({"a": 10, "b": 10}, Verdict.OK, "20 sessions spread over 2 nodes: 10, 10"),
        ({"a": 20, "b": 0}, Verdict.WARNING, "all 20 new sessions are on a, though 2 nodes are there"),
        ({"a": 19, "b": 1}, Verdict.WARNING, "19 of 20 new sessions are on a, though 2 nodes are there"),
        ({"a": 10, "b": 10, "c": 0}, Verdict.WARNING, "c gets none of 20 new sessions"),
        ({"a": 2, "b": 1}, Verdict.UNKNOWN, "3 sessions on 2 nodes are too few to tell: 2, 1"),
    ],
)
def test_the_verdict(counts: dict[str, int], verdict: Verdict, says: str) -> None:
    found = judged(**counts)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict is not Verdict.OK)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 50), min_size=2))
def test_no_node_is_left_out_of_the_evidence(counts: dict[str, int]) -> None:
    found = judged(**counts)
    assert found.evidence["sessions_by_node"] == counts
    assert found.evidence["sessions"] == sum(counts.values())
