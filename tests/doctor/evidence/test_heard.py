from __future__ import annotations

import pytest

from mooring.doctor.client.held_stream import Arrival
from mooring.doctor.evidence.heard import Heard
from tests.doctor.heard import cut, held, pings, refused
from tests.doctor.streams import PRIMING


@pytest.mark.parametrize(
    ("heard", "silences", "last"),
    [
        (held(35.0), (), 35.0),
        (held(35.0, *pings(15.0, 30.0)), (15.0, 15.0), 5.0),
        (held(35.0, *pings(0.002, 20.0)), (19.998,), 15.0),
        (held(35.0, *pings(35.01, 35.02)), (), 35.0),
        (cut(29.0, *pings(15.0)), (15.0,), 14.0),
        (cut(6.0), (), 6.0),
    ],
)
def test_how_long_nothing_came(heard: Heard, silences: tuple[float, ...], last: float) -> None:
    assert heard.silences == pytest.approx(silences)
    assert heard.last_silence_seconds == pytest.approx(last)


@pytest.mark.parametrize(
    ("heard", "held_back", "passes", "head_late"),
    [
        (held(35.0), False, False, False),
        (held(35.0, *pings(15.0, 30.0)), False, True, False),
        (held(35.0, *pings(15.0, 30.0), head_seconds=15.0), False, True, True),
        (held(35.0, *pings(35.01, 35.01), head_seconds=35.01), True, False, True),
        (held(35.0, Arrival(35.01, PRIMING.encode() + b": ping\n\n")), True, False, False),
        # One thing may have been sent when the session ended.
        (held(35.0, *pings(35.01)), False, False, False),
        # Nobody had it ended: what came late may have been sent late.
        (held(35.0, *pings(35.01, 35.01), ended=False), False, False, False),
        (held(35.0, head_seconds=35.01), False, False, True),
        # A server that is slow to begin keeps nothing back.
        (held(35.0, head_seconds=1.5), False, False, False),
        (held(35.0, *pings(15.0, 30.0), head_seconds=1.5), False, True, False),
        # What came with the end may have been kept back until then, or not.
        (cut(6.0, *pings(6.0)), False, False, False),
        (cut(20.0, *pings(15.0)), False, True, False),
        (refused(405), False, False, False),
    ],
)
def test_what_was_kept_back(heard: Heard, held_back: bool, passes: bool, head_late: bool) -> None:
    assert (heard.is_held_back, heard.passes, heard.is_head_late) == (held_back, passes, head_late)


@pytest.mark.parametrize(
    ("heard", "is_refused", "early"),
    [
        (held(), False, False),
        (held(head_seconds=None), True, False),  # it ended without a head
        (cut(5.0), False, True),
        (refused(405), True, True),
    ],
)
def test_what_is_no_stream_and_what_ended_by_itself(heard: Heard, is_refused: bool, early: bool) -> None:
    assert (heard.is_refused, heard.ended_early) == (is_refused, early)
