from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.checks.node_loss import fate, judge, outage_seconds
from mooring.doctor.client.held_stream import End
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.ways import WAYS
from mooring.doctor.evidence.watch import WatchedPing, WatchedSession
from mooring.doctor.findings import Verdict
from tests.doctor.examples import session

WORDS = {"+": Outcome.REACHED, "x": Outcome.LOST, "5": Outcome.UNAVAILABLE, "h": Outcome.HANG}
LABELS = {"+": "200", "x": "404 Session not found", "5": "502", "h": "no answer in time"}


def seen(history: str) -> list[WatchedPing]:
    """One ping a second, each of which took a tenth of one."""
    return [WatchedPing(float(at), 0.1, WORDS[char], LABELS[char]) for at, char in enumerate(history)]


def watched(history: str) -> WatchedSession:
    return WatchedSession(session(), WAYS[0], seen(history))


def test_the_fate_of_a_session() -> None:
    fates = {history: fate(seen(history)) for history in ("", "+++", "+5+", "+x+", "+xx", "+5x", "+x5", "+hh")}
    assert fates == {
        "": "untouched",
        "+++": "untouched",
        "+5+": "recovered",
        "+x+": "recovered",
        "+xx": "lost",
        "+5x": "lost",
        "+x5": "failing",
        "+hh": "failing",
    }


def test_an_outage_lasts_until_the_next_call_that_works_is_over() -> None:
    assert outage_seconds(seen("+++")) == 0.0
    assert round(outage_seconds(seen("+55+")), 3) == 2.1
    assert round(outage_seconds(seen("+5+++x")), 3) == 1.1
    assert round(outage_seconds(seen("5+xxx")), 3) == 2.1


@given(st.text(alphabet="+x5h", max_size=30))
def test_an_outage_is_as_long_as_what_failed(history: str) -> None:
    lasted = outage_seconds(seen(history))
    assert (lasted > 0) == (set(history) > {"+"} or (bool(history) and "+" not in history))
    assert lasted <= len(history)


def test_nothing_seen_is_fine_and_claims_no_more_than_that() -> None:
    finding = judge([watched("++++"), watched("++++")], [], 4.0)
    assert finding.verdict is Verdict.OK
    assert finding.says == "no call of 2 sessions failed in 4 s (8 calls)"
    assert "If a node was stopped" in finding.why


def test_a_lost_session_is_broken() -> None:
    one = watched("++xxx")
    one.streams_ended.append((2.0, End.CUT))
    finding = judge([one, watched("+++++")], [(3.0, True, "1")], 5.0)
    assert finding.verdict is Verdict.BROKEN
    assert finding.says == "1 of 2 sessions were lost: 404 Session not found"
    assert "1 streams ended meanwhile." in finding.why
    assert finding.evidence["new_sessions_after_loss"] == {"tried": 1, "opened": 1}
    assert finding.changes


def test_what_never_answers_again_is_broken() -> None:
    finding = judge([watched("+5555")], [], 5.0)
    assert finding.verdict is Verdict.BROKEN
    assert finding.says == "1 of 1 sessions do not answer: 502"


def test_a_hiccup_is_a_warning() -> None:
    finding = judge([watched("+5++"), watched("++++")], [], 4.0)
    assert finding.verdict is Verdict.WARNING
    assert finding.says == "no session was lost; 1 had failed calls for up to 1.1 s"
