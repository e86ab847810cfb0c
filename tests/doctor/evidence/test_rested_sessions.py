from __future__ import annotations

import pytest

from mooring.doctor.evidence import rested_sessions
from mooring.doctor.evidence.rested_sessions import Rest, let_rest, sessions_to_rest
from mooring.doctor.evidence.silent_streams import SilentStreams
from tests.doctor.examined import examined
from tests.doctor.examples import LOST, REACHED, UNAVAILABLE
from tests.doctor.odd import running_odd


def test_what_became_of_a_session() -> None:
    kept, gone = Rest(2.0, REACHED, ()), Rest(2.0, LOST, (LOST, LOST))
    broke, elsewhere = Rest(2.0, UNAVAILABLE, (REACHED,)), Rest(2.0, LOST, (LOST, REACHED))
    assert [one.is_kept for one in (kept, gone, broke, elsewhere)] == [True, False, True, True]
    assert [one.is_lost for one in (kept, gone, broke, elsewhere)] == [False, True, False, False]
    assert [one.broke_connection for one in (kept, gone, broke, elsewhere)] == [False, False, True, True]


async def test_each_time_has_a_session_that_nobody_else_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rested_sessions, "_TIMES", (0.01, 0.02, 50.0))
    async with running_odd() as odd, examined(odd.url, sessions=8, idle_seconds=1.0) as exam:
        resting = sessions_to_rest(exam)
        assert [seconds for seconds, _ in resting] == [0.01, 0.02]
        taken = [session for _, session in resting]
        spare = exam.shared(SilentStreams).hold(0.01)
        assert spare is not None
        assert spare.session not in taken
        assert exam.first not in taken
        assert exam.last not in taken
        assert all(rest.is_kept for rest in await let_rest(exam, resting))
