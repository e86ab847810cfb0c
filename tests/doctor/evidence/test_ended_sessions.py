"""Sessions that ended with their node, and calls that went astray."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import HOME
from mooring.doctor.evidence.ended_sessions import count_ended
from mooring.doctor.examination import Call
from tests.doctor.examples import LOST, ONE, REACHED, TWO, UNAVAILABLE, calls


@pytest.mark.parametrize(
    ("one", "two", "ended"),
    [
        ([REACHED] + [LOST] * 5, [REACHED] * 6, 1),
        ([REACHED] + [LOST] * 4, [REACHED] * 6, 0),  # so few may be lost by chance
        ([LOST] * 6, [REACHED] * 6, 0),  # never reached: it did not end meanwhile
        ([REACHED] + [LOST] * 5 + [REACHED], [REACHED] * 6, 0),
        ([REACHED, UNAVAILABLE] + [LOST] * 5, [REACHED] * 6, 1),
        ([REACHED] * 6, [REACHED] * 6, 0),
    ],
)
def test_a_session_ended_where_it_was_reached_until_then_and_never_again(
    one: list[Reply], two: list[Reply], ended: int
) -> None:
    made = [*calls(ONE, HOME, *one), *calls(TWO, HOME, *two)]
    assert count_ended(made) == ended


def test_where_no_session_is_spared_nothing_may_be_reached_after_the_first_was_lost() -> None:
    before = [Call(of, HOME, REACHED) for of in (ONE, TWO)]
    after = [Call(of, HOME, LOST) for _ in range(5) for of in (ONE, TWO)]
    assert count_ended([*before, *after]) == 2
    assert count_ended([before[0], *(call for call in after if call.session is ONE), before[1], *after]) == 0


@given(st.lists(st.sampled_from([REACHED, LOST, UNAVAILABLE]), max_size=20))
def test_no_more_sessions_end_than_are_lost(replies: Sequence[Reply]) -> None:
    assert count_ended(calls(ONE, HOME, *replies)) <= (LOST in replies)
