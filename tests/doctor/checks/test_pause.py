from __future__ import annotations

import pytest

from mooring.doctor.checks.pause import judge, run
from mooring.doctor.evidence.rested_sessions import Rest
from mooring.doctor.findings import NotRun, Verdict
from tests.doctor.examined import examined
from tests.doctor.examples import LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.odd import running_odd


def kept(seconds: float) -> Rest:
    return Rest(seconds, REACHED, ())


def gone(seconds: float) -> Rest:
    return Rest(seconds, LOST, (LOST, LOST, LOST))


@pytest.mark.parametrize(
    ("rests", "verdict", "says"),
    [
        ([kept(2), kept(31)], Verdict.OK, "sessions are there after a pause of up to 31 s"),
        (
            [kept(2), kept(5), gone(11), gone(21)],
            Verdict.BROKEN,
            "a session that is silent for 5 s to 11 s is gone: 404",
        ),
        ([gone(2)], Verdict.BROKEN, "a session that is silent for 2 s is gone: 404"),
        ([kept(2), gone(5), kept(11)], Verdict.BROKEN, "1 of 3 sessions were gone after a pause: 404"),
        (
            [kept(2), Rest(11, UNAVAILABLE, (REACHED,))],
            Verdict.WARNING,
            "after 11 s of silence the first call fails, and the next does not: 502",
        ),
        ([Rest(2, THROTTLED, (THROTTLED,))], Verdict.UNKNOWN, "calls after a pause failed: 429"),
    ],
)
def test_what_is_said(rests: list[Rest], verdict: Verdict, says: str) -> None:
    found = judge(rests, str)
    assert found.verdict is verdict
    assert found.says.startswith(says)
    assert bool(found.changes) is (verdict in (Verdict.WARNING, Verdict.BROKEN))


async def test_no_time_or_too_few_sessions() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2, idle_seconds=0.0) as exam:
        assert await run(exam) == NotRun("no time to be silent is given (--idle)")
    async with running_odd() as odd, examined(odd.url, sessions=2, idle_seconds=2.5) as exam:
        assert isinstance(await run(exam), NotRun)
