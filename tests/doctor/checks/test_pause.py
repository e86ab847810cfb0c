from __future__ import annotations

import pytest

from mooring.doctor.checks.pause import judge, run
from mooring.doctor.evidence.rested_sessions import Rest
from mooring.doctor.findings import NotRun, Verdict
from tests.doctor.examined import examined
from tests.doctor.examples import CUT, LOST, REACHED, THROTTLED, UNAVAILABLE
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
        (
            [kept(2), Rest(11, REACHED, (LOST, REACHED, LOST))],
            Verdict.BROKEN,
            "after 11 s of silence some calls miss their session: 404 Session not found",
        ),
        (
            [Rest(5, LOST, (LOST, REACHED)), Rest(11, LOST, (REACHED, LOST))],
            Verdict.BROKEN,
            "after 5 s of silence some calls miss their session: 404",
        ),
        ([Rest(2, THROTTLED, (THROTTLED,))], Verdict.UNKNOWN, "calls after a pause failed: 429"),
    ],
)
def test_what_is_said(rests: list[Rest], verdict: Verdict, says: str) -> None:
    found = judge(rests, str)
    assert found.verdict is verdict
    assert found.says.startswith(says)
    assert bool(found.changes) is (verdict in (Verdict.WARNING, Verdict.BROKEN))


def test_whose_connection_was_dead() -> None:
    behind = judge([kept(2), Rest(11, UNAVAILABLE, (REACHED,))], str)
    assert "keep-alive race" in behind.why
    assert "Most likely" in behind.why or "most likely" in behind.why, "a doubt is said as a doubt"
    own = judge([Rest(11, CUT, (REACHED,))], str)
    assert "the client's own connection" in own.why
    assert "as Apache does in place of a 502" in own.why
    many = judge([Rest(5, UNAVAILABLE, (UNAVAILABLE, UNAVAILABLE, REACHED))], str)
    assert many.says.startswith("after 5 s of silence the first 3 calls fail, and later ones do not: 502")


def test_what_fails_after_a_pause_alone_is_no_health() -> None:
    rests = [kept(2), Rest(5, UNAVAILABLE, (UNAVAILABLE,) * 12)]
    found = judge(rests, str, passes_without=True)
    assert found.verdict is Verdict.BROKEN
    assert found.says.startswith("after 5 s of silence calls fail that did not before: 502")
    assert "keep-alive race" in found.why
    assert judge(rests, str).verdict is Verdict.UNKNOWN, "where calls fail anyway, the pause tells nothing"


async def test_no_time_or_too_few_sessions() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2, idle_seconds=0.0) as exam:
        assert await run(exam) == NotRun("no time to be silent is given (--idle)")
    async with running_odd() as odd, examined(odd.url, sessions=2, idle_seconds=2.5) as exam:
        assert isinstance(await run(exam), NotRun)
