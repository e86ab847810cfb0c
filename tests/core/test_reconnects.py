"""Clients that are told to come back come evenly, whenever they are told."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.reconnects import LEAST_SECONDS, LONGEST_SECONDS, PER_SECOND, Reconnects

PROPERTY = settings(deadline=None, max_examples=100)
_ROUNDING = 0.0011


@PROPERTY
@given(st.integers(1, 8000), st.lists(st.sampled_from([0.0, 0.001, 0.05, 2.0]), min_size=1, max_size=300))
def test_they_come_one_after_another_at_an_even_pace(count: int, pauses: list[float]) -> None:
    reconnects, now, comes = Reconnects(count), 100.0, []
    for pause in pauses:
        now += pause
        wait = reconnects.next_milliseconds(now) / 1000
        assert wait >= LEAST_SECONDS - _ROUNDING
        comes.append(now + wait)
    step = min(1 / PER_SECOND, LONGEST_SECONDS / count)
    assert all(later - earlier >= step - _ROUNDING for earlier, later in pairwise(comes))


def test_in_no_tenth_of_a_second_there_are_three_times_as_many_as_in_the_mean() -> None:
    reconnects = Reconnects(300)
    comes = [reconnects.next_milliseconds(0.0) for _ in range(300)]
    window = max(comes) - min(comes)
    assert 2500 < window < 3500
    most = max(sum(start <= one < start + 100 for one in comes) for start in comes)
    assert most <= 3 * 300 * 100 / window


def test_however_many_they_are_they_are_back_in_time() -> None:
    reconnects = Reconnects(100_000)
    comes = [reconnects.next_milliseconds(0.0) for _ in range(100_000)]
    assert max(comes) <= (LONGEST_SECONDS + LEAST_SECONDS) * 1000 + 1
