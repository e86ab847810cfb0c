"""What calls show of a load balancer; the verdicts on each pattern are tested with the check."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.ways import WAYS
from mooring.doctor.evidence.call_pattern import CallTally, Pattern, pattern_of, sessions_of, tally_by_way
from tests.doctor.examples import HANG, LOST, ONE, REACHED, THROTTLED, TWO, UNAVAILABLE, alike, calls

REPLIES = st.lists(st.sampled_from([REACHED, LOST, UNAVAILABLE, THROTTLED, HANG]), min_size=1, max_size=6)


@given(REPLIES)
def test_a_tally_counts_every_call_once(replies: list[Reply]) -> None:
    tally = CallTally.of(alike(*replies))
    assert tally.calls == 8 * len(replies) == sum(tally.outcomes.values())
    assert tally.reached + sum(tally.labels.values()) == tally.calls
    assert tally.share == tally.reached / tally.calls


@given(st.lists(REPLIES, min_size=4, max_size=4))
def test_the_ways_share_the_calls(replies: list[list[Reply]]) -> None:
    made = [call for way, one in zip(WAYS, replies, strict=True) for call in calls(ONE, way, *one)]
    by_way = tally_by_way(made)
    assert list(by_way) == list(WAYS)
    assert sum(tally.calls for tally in by_way.values()) == len(made)
    lost = [call for call in made if call.reply.outcome is Outcome.LOST]
    assert (pattern_of(made) is Pattern.KEPT) == (not lost)


def test_each_session_is_named_once() -> None:
    assert sessions_of([*calls(ONE, WAYS[0], REACHED, LOST), *calls(TWO, WAYS[1], REACHED)]) == [ONE, TWO]


def test_no_calls_have_no_share() -> None:
    assert CallTally.of([]).share == 0.0
