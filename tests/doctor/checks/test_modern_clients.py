from __future__ import annotations

import pytest

from mooring.doctor.checks.modern_clients import Era, era_of, judge, run
from mooring.doctor.client.protocol import MODERN_VERSION
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.examples import THROTTLED
from tests.doctor.odd import running_odd


def result(*versions: str) -> Reply:
    return Reply(200, message={"jsonrpc": "2.0", "id": 1, "result": {"supportedVersions": list(versions)}})


MODERN, OLDER = result(MODERN_VERSION), result("2025-11-25")
REFUSED = Reply(400, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32022, "message": "no"}})
DOWN = Reply(502)


@pytest.mark.parametrize(
    ("reply", "era"),
    [
        (MODERN, Era.MODERN),
        (OLDER, Era.LEGACY),
        (REFUSED, Era.LEGACY),
        (Reply(404), Era.LEGACY),
        (Reply(200, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}), Era.LEGACY),
        (DOWN, Era.NEITHER),
        (Reply(307), Era.NEITHER),
        (Reply(trouble=Trouble.HANG), Era.NEITHER),
        (Reply(200, body=b"<html>"), Era.NEITHER),
        (Reply(401), Era.UNTOLD),
        (THROTTLED, Era.UNTOLD),
    ],
)
def test_what_a_client_makes_of_an_answer(reply: Reply, era: Era) -> None:
    assert era_of(reply) is era


@pytest.mark.parametrize(
    ("replies", "verdict", "says"),
    [
        ([MODERN] * 6, Verdict.OK, "are answered in it"),
        ([REFUSED] * 6, Verdict.OK, "fall back to sessions"),
        ([MODERN, REFUSED] * 3, Verdict.BROKEN, "some nodes speak the modern era and some do not: 3 of 6"),
        ([DOWN] * 6, Verdict.BROKEN, "fail on 6 of 6 tries: 502"),
        ([REFUSED] * 5 + [DOWN], Verdict.WARNING, "fail on 1 of 6 tries: 502"),
        ([Reply(401)] * 6, Verdict.UNKNOWN, "cannot tell: 401"),
    ],
)
def test_what_is_said(replies: list[Reply], verdict: Verdict, says: str) -> None:
    found = judge(replies, str)
    assert found.verdict is verdict
    assert says in found.says


@pytest.mark.parametrize("is_modern", [True, False])
async def test_a_server_that_answers(is_modern: bool) -> None:
    async with running_odd(is_modern=is_modern) as odd, examined(odd.url, sessions=3) as exam:
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK
