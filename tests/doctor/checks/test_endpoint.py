"""The one verdict on what cannot be examined, whatever it is that answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.checks.endpoint import cannot_examine, redirected, redirected_away
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.client.sessions import Sessions
from mooring.doctor.client.wire import Wire
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Verdict
from mooring.doctor.plan import Plan
from tests.doctor.runs import Notes


async def examination(**fields: object) -> Examination:
    plan = Plan(URL("https://h/mcp"), **fields)  # type: ignore[arg-type]
    async with Wire(plan) as wire:
        return Examination(plan, wire, Sessions(wire, 2), Notes())


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=CIMultiDictProxy(CIMultiDict(named)), body=body)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Reply(trouble=Trouble.HANG), "no answer within 10 s"),
        (Reply(trouble=Trouble.REFUSED), "nothing listens at h:443"),
        (Reply(trouble=Trouble.NAME), "the host name h cannot be resolved"),
        (Reply(trouble=Trouble.CUT), "the connection is closed without an answer"),
        (Reply(trouble=Trouble.NO_WAY), "no connection to h:443"),
        (Reply(trouble=Trouble.NOT_HTTP), "what answers does not speak HTTP"),
        (
            Reply(trouble=Trouble.TLS, detail="certificate verify failed: certificate has expired (_ssl.c:1)"),
            "TLS fails: certificate has expired",
        ),
        (
            Reply(trouble=Trouble.TLS, detail="[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)"),
            "TLS fails: what answers does not speak it (wrong version number)",
        ),
        (reply(401), "a login is required"),
        (reply(403), "a login is required"),
        (reply(403, b"Invalid Host header"), "the server refuses its own host name: 403 Invalid Host header"),
        (reply(421), "the server refuses its own host name: 421"),
        (reply(429, Retry_After="9"), "the server limits the rate of requests: 429"),
        (reply(503), "`initialize` is answered with 503"),
        (reply(404), "no MCP endpoint: POST is answered with 404"),
        (reply(200, Content_Type="text/html"), "no MCP endpoint: POST is answered with 200 (text/html)"),
    ],
)
async def test_what_is_said(answer: Reply, says: str) -> None:
    found = cannot_examine(await examination(), answer)
    assert (found.check, found.verdict, found.says) == ("endpoint", Verdict.BROKEN, says)
    assert found.changes


async def test_a_login_that_was_tried_was_refused() -> None:
    found = cannot_examine(await examination(tokens=("abc",)), reply(401, WWW_Authenticate="Bearer"))
    assert (found.says, found.why) == ("the token is refused: 401", "The server asks for: Bearer.")


@given(st.sampled_from([None, *Trouble]), st.integers(0, 599), st.binary(max_size=50), st.text(max_size=50))
async def test_no_answer_is_too_strange(trouble: Trouble | None, status: int, body: bytes, detail: str) -> None:
    found = cannot_examine(await examination(), Reply(status, body=body, trouble=trouble, detail=detail))
    assert found.verdict is Verdict.BROKEN
    assert found.says.isprintable()


async def test_redirects() -> None:
    exam = await examination()
    within = redirected(exam, reply(307), URL("https://h/mcp/"))
    assert (within.verdict, within.says) == (Verdict.WARNING, "every request is redirected to https://h/mcp/")
    away = redirected_away(exam, reply(302, Location="https://login.example/"))
    assert (away.verdict, away.says) == (Verdict.BROKEN, "redirected to https://login.example/")
