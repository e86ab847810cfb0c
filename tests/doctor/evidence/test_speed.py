from __future__ import annotations

from mooring.doctor.evidence.speed import Speed, measure_speed
from tests.doctor.examined import examined
from tests.doctor.odd import running_odd


async def test_calls_are_timed_one_after_the_other() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        speed = await measure_speed(exam)
    assert len(speed.calls) == 5
    assert 0 < speed.median < 1
    assert len(speed.openings) == 2
    assert speed.tool_seconds is None


def test_nothing_was_answered() -> None:
    assert (Speed(()).median, Speed(()).first_opening) == (0.0, 0.0)
