from __future__ import annotations

import pytest

from mooring.doctor.checks.speed import judge, run
from mooring.doctor.evidence.speed import Speed
from mooring.doctor.findings import Finding, Verdict
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.odd import running_odd
from tests.doctor.runs import problems
from tests.doctor.runs import run as doctor


@pytest.mark.parametrize(
    ("speed", "verdict", "says"),
    [
        (Speed((0.01, 0.02, 0.9)), Verdict.OK, "a ping takes 20 ms"),
        (Speed((2.2, 2.3, 2.4)), Verdict.WARNING, "a ping takes 2.3 s, also when nothing else is asked"),
        (Speed((0.1,), (6.0, 0.1)), Verdict.WARNING, "a session takes 6 s to open, also when nothing else is asked"),
        (Speed((0.1,), (), 31.0), Verdict.WARNING, "the tool takes 31 s: clients wait for 60 s by default"),
        (Speed(()), Verdict.UNKNOWN, "no call was answered"),
    ],
)
def test_what_is_said(speed: Speed, verdict: Verdict, says: str) -> None:
    found = judge(speed)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) is (verdict is Verdict.WARNING)


async def test_a_quick_server() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK


@pytest.mark.real
async def test_a_tool_that_takes_its_time_is_no_slow_ping() -> None:
    """Without sessions, too, and in each era: the call that is timed has nothing to do."""
    async with replica_urls("stateless", 1) as [url]:
        report = await doctor(
            url, only=frozenset({"eras", "speed"}), tool="work", arguments={"steps": 1, "seconds": 1.2}
        )
    assert problems(report, with_speed=True) == {}
