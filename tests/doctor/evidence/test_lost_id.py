"""A server without sessions, told from one whose session ids are lost on their way."""

from __future__ import annotations

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.lost_id import is_for_want_of_an_id, like_an_id
from mooring.doctor.findings import Verdict
from tests.doctor.examples import LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.odd import Odd
from tests.doctor.runs import finding, run
from tests.doctor.serving import serving


@pytest.mark.parametrize(
    ("reply", "wants"),
    [
        (LOST, True),
        (Reply(400, message={"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "Bad Request"}}), True),
        (Reply(400), False),
        (REACHED, False),
        (THROTTLED, False),
        (UNAVAILABLE, False),
        (Reply(401), False),
    ],
)
def test_who_asks_for_an_id(reply: Reply, wants: bool) -> None:
    assert is_for_want_of_an_id(reply) is wants


def opening(**headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(200, headers=CIMultiDictProxy(CIMultiDict(named)))


def test_what_looks_like_an_id_under_another_name() -> None:
    one = opening(X_Session="a" * 32, X_Request_Id="1" * 32, Date="Thu, 26 Nov 2026 01:30:29 GMT", X_Constant="c" * 32)
    two = opening(X_Session="b" * 32, X_Request_Id="2" * 32, Date="Thu, 26 Nov 2026 01:30:30 GMT", X_Constant="c" * 32)
    assert like_an_id([one, two]) == "X-Session"
    assert like_an_id([opening(Date="x" * 20), opening(Date="y" * 20)]) == ""


@pytest.mark.parametrize("renamed", ["", "X-Session"])
async def test_an_id_that_is_lost_on_the_way_out(renamed: str) -> None:
    odd = Odd()

    async def losing(request: web.Request) -> web.StreamResponse:
        answer = await odd.answer(request)
        session = answer.headers.pop(SESSION, None)
        if session and renamed:
            answer.headers[renamed] = session
        return answer

    async with serving(losing) as url:
        report = await run(url)
    found = finding(report, "affinity")
    assert (found.verdict, found.says.partition(":")[0]) == (Verdict.BROKEN, "the session id is lost on its way out")
    assert renamed in found.says
    assert found.evidence["id_header"] == (renamed or None)
    assert len(odd.live) <= report.left <= 4
    assert report.sessions <= 20
    # Nobody is told to do what is done, and nothing that needs a session is judged.
    assert "stateless" not in str(report.as_json()["findings"]).lower()
    assert {one.check for one in report.findings if one.verdict is not Verdict.UNKNOWN} == {
        "eras",
        "openings",
        "affinity",
    }
