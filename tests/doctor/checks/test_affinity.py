from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mooring.doctor.checks.affinity import Pattern, judge, pattern_of
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.sessions import WAYS, Way
from mooring.doctor.examination import Call, Examination
from mooring.doctor.findings import Verdict
from mooring.doctor.plan import Plan
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE, calls, session

ONE, TWO = session("one"), session("two")
Replies = dict[Way, list[Reply]]


def examination(made: list[Call]) -> Examination:
    nothing = cast(Any, None)
    exam = Examination(Plan(URL("http://host/mcp")), nothing, nothing, nothing)
    exam.calls = made
    return exam


def alike(*replies: Reply) -> list[Call]:
    """Two sessions that see the same in every way."""
    return [call for of in (ONE, TWO) for way in WAYS for call in calls(of, way, *replies)]


def by_way(works: set[Way]) -> list[Call]:
    return [
        call
        for of in (ONE, TWO)
        for way in WAYS
        for call in calls(of, way, *([REACHED] * 3 if way in works else [REACHED, LOST, LOST]))
    ]


def by_session() -> list[Call]:
    return [
        call for of, reply in ((ONE, REACHED), (TWO, LOST)) for way in WAYS for call in calls(of, way, *[reply] * 3)
    ]


@pytest.mark.parametrize(
    ("made", "pattern", "verdict", "says"),
    [
        (alike(REACHED), Pattern.KEPT, Verdict.OK, "8 of 8 calls reached their session"),
        (
            alike(REACHED, LOST, LOST),
            Pattern.ROUND_ROBIN,
            Verdict.BROKEN,
            "works with one replica, fails with two: 67%",
        ),
        (by_way({WAYS[0], WAYS[2]}), Pattern.COOKIE, Verdict.BROKEN, "only clients that keep cookies work"),
        (by_way({WAYS[0], WAYS[1]}), Pattern.CONNECTION, Verdict.BROKEN, "affinity by connection"),
        (by_way({WAYS[0]}), Pattern.ROUND_ROBIN, Verdict.BROKEN, "works with one replica, fails with two"),
        (by_session(), Pattern.HASH, Verdict.BROKEN, "each session works always or never"),
        (alike(LOST, LOST), Pattern.NEVER, Verdict.BROKEN, "no call reaches its session: 404 Session not found"),
        (alike(THROTTLED), Pattern.KEPT, Verdict.UNKNOWN, "8 of 8 calls failed: 429"),
        (alike(*[REACHED] * 60, UNAVAILABLE), Pattern.KEPT, Verdict.WARNING, "8 of 488 calls failed: 502"),
        (alike(REACHED, UNAVAILABLE), Pattern.KEPT, Verdict.BROKEN, "8 of 16 calls failed: 502"),
        (alike(HANG), Pattern.KEPT, Verdict.BROKEN, "8 of 8 calls failed: no answer in time"),
        ([], Pattern.KEPT, Verdict.UNKNOWN, "no call could be made in time"),
    ],
)
def test_what_the_load_balancer_goes_by(made: list[Call], pattern: Pattern, verdict: Verdict, says: str) -> None:
    assert pattern_of(made) is pattern
    finding = judge(examination(made))
    assert finding.verdict is verdict
    assert finding.says.startswith(says)
    assert (finding.changes == ()) == (verdict is Verdict.OK or not made)


@given(st.lists(st.sampled_from([REACHED, UNAVAILABLE, THROTTLED, HANG]), min_size=1, max_size=20))
def test_nobody_is_told_of_lost_sessions_where_none_was_lost(replies: list[Reply]) -> None:
    made = alike(*replies)
    finding = judge(examination(made))
    assert pattern_of(made) is Pattern.KEPT
    assert "replica" not in finding.says + finding.why
    assert (finding.verdict is Verdict.OK) == all(reply is REACHED for reply in replies)


@given(st.lists(st.lists(st.sampled_from([REACHED, LOST]), min_size=2, max_size=6), min_size=4, max_size=4))
def test_a_lost_call_is_always_broken(replies: list[list[Reply]]) -> None:
    made = [call for way, some in zip(WAYS, replies, strict=True) for call in calls(ONE, way, *some)]
    finding = judge(examination(made))
    assert (finding.verdict is Verdict.BROKEN) == any(LOST in some for some in replies)
    assert finding.evidence["reached"] == sum(reply is REACHED for some in replies for reply in some)


def test_a_cookie_that_does_not_help_is_pointed_at() -> None:
    with_cookie = session("one", "affinity=a; Path=/other")
    made = [call for way in WAYS for call in calls(with_cookie, way, REACHED, LOST)]
    assert "A cookie is set, and it does not help" in judge(examination(made)).why


def test_the_nodes_are_counted_by_the_share_of_what_arrives() -> None:
    assert judge(examination(alike(REACHED, LOST, LOST, LOST))).evidence["nodes_about"] == 4
