"""What is said where a check cannot tell."""

from __future__ import annotations

from mooring.doctor.checks.cannot_tell import failing_anyway, not_asked, throttled, where_to_look
from mooring.doctor.client.ways import HOME
from mooring.doctor.findings import Verdict
from tests.doctor.examples import LOST, ONE, REACHED, UNAVAILABLE, calls, examination


def test_nothing_of_it_is_a_fault() -> None:
    exam = examination(calls(ONE, HOME, UNAVAILABLE))
    exam.sessions.refused = []
    found = [not_asked("host", exam), throttled("host", {}), failing_anyway("host", exam)]
    assert {(one.check, one.verdict) for one in found} == {("host", Verdict.UNKNOWN)}
    assert found[2].says == "cannot tell: calls that nothing is odd about fail, too: 502"


def test_a_lost_call_is_for_another_check_to_explain() -> None:
    assert "affinity" in where_to_look(LOST)
    assert where_to_look(REACHED) == ""
