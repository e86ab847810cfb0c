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
from mooring.doctor.evidence.redirects import redirect_of
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
        (reply(401), "`initialize` is answered with 401: a login seems to be needed"),
        (reply(403), "`initialize` is answered with 403: a login seems to be needed"),
        (reply(403, b"Invalid Host header"), "the server refuses its own host name: 403 Invalid Host header"),
        (reply(406), "`initialize` is refused for its Accept: 406"),
        (
            reply(406, b"Not Acceptable: Client must accept both"),
            "`initialize` is refused for its Accept: 406 Not Acceptable: Client must accept both",
        ),
        (reply(415), "`initialize` is refused for its Content-Type: 415"),
        (
            reply(400, b"Invalid Content-Type header"),
            "`initialize` is refused for its Content-Type: 400 Invalid Content-Type header",
        ),
        (reply(406, b"<html>not acceptable</html>"), "`initialize` is refused: 406"),
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
    assert found.says == "the token is refused: 401"
    assert found.why.startswith("The answer asks for: Bearer. It names no error, as a server does that saw no token")
    assert "passes on Authorization" in found.changes[0].what


async def test_a_token_that_was_seen_is_not_said_to_be_lost() -> None:
    found = cannot_examine(await examination(tokens=("abc",)), reply(401, WWW_Authenticate='Bearer error="invalid"'))
    assert found.why == 'The answer asks for: Bearer error="invalid".'


@pytest.mark.parametrize(
    ("tokens", "body", "why"),
    [
        ((), b"<html>Request forbidden by administrative rules.</html>", "or a login that is wanted"),
        (
            ("abc",),
            b"<html>Request forbidden by administrative rules.</html>",
            "or a token that does not have the right",
        ),
        (("abc",), b"Forbidden", "or a token that does not have the right"),
    ],
)
async def test_a_403_may_be_a_firewalls(tokens: tuple[str, ...], body: bytes, why: str) -> None:
    found = cannot_examine(await examination(tokens=tokens), reply(403, body))
    assert found.says.startswith("`initialize` is refused: 403")
    assert "a firewall" in found.why
    assert why in found.why
    assert ("something before the server gave it" in found.why) is body.startswith(b"<")


@given(st.sampled_from([None, *Trouble]), st.integers(0, 599), st.binary(max_size=50), st.text(max_size=50))
async def test_no_answer_is_too_strange(trouble: Trouble | None, status: int, body: bytes, detail: str) -> None:
    found = cannot_examine(await examination(), Reply(status, body=body, trouble=trouble, detail=detail))
    assert found.verdict is Verdict.BROKEN
    assert found.says.isprintable()


@pytest.mark.parametrize(
    ("typed", "status", "location", "verdict", "says"),
    [
        (
            "https://h/mcp",
            307,
            "/mcp/",
            Verdict.WARNING,
            "every request is redirected to https://h/mcp/",
        ),
        (
            "https://h/mcp",
            301,
            "/mcp/",
            Verdict.BROKEN,
            "every request is redirected to https://h/mcp/",
        ),
        (
            "https://h/mcp",
            307,
            "http://h/mcp/",
            Verdict.BROKEN,
            "redirected to http://h/mcp/: the scheme of https://h/mcp is lost",
        ),
        (
            "http://h:8443/mcp",
            307,
            "http://h/mcp/",
            Verdict.BROKEN,
            "redirected to http://h/mcp/: the port of http://h:8443/mcp is lost",
        ),
        (
            "https://h.example/api/mcp",
            308,
            "/mcp/",
            Verdict.BROKEN,
            "redirected to https://h.example/mcp/: the prefix of https://h.example/api/mcp is lost",
        ),
    ],
)
async def test_redirects_to_the_same_server(
    typed: str, status: int, location: str, verdict: Verdict, says: str
) -> None:
    exam = await examination()
    exam.wire.url = URL(typed)
    found = redirected(exam, reply(status, Location=location), redirect_of(URL(typed), location))
    assert (found.verdict, found.says) == (verdict, says)
    # No client is ever told to use a URL in clear where it has one that is not.
    assert not any("Give clients the URL http://" in change.what for change in found.changes)


@pytest.mark.parametrize("where", ["https://login.example/authorize", "/authorize"])
async def test_what_a_login_gives_to_one_client_is_not_shown(where: str) -> None:
    exam = await examination()
    secrets = ("qzxwvu", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
    location = f"{where}?client=mcp&state={secrets[0]}&code_challenge={secrets[1]}"
    answer, leads = reply(302, Location=location), redirect_of(URL("https://h/mcp"), location)
    exam.wire.url = URL("https://h/mcp")
    found = [redirected_away(exam, answer, leads)]
    if leads.repaired is not None:
        found.append(redirected(exam, answer, leads))
    for said in map(str, found):
        assert "client=mcp" in said
        assert not any(secret in said for secret in secrets)


@pytest.mark.parametrize(
    ("typed", "location", "change"),
    [
        ("https://h/mcp", "https://login.example/", "if it is a login page"),
        ("http://h/mcp", "https://h/mcp", "Give clients the https URL"),
        ("https://h/mcp", "", "names nowhere to go"),
    ],
)
async def test_redirects_elsewhere(typed: str, location: str, change: str) -> None:
    exam = await examination()
    exam.wire.url = URL(typed)
    found = redirected_away(exam, reply(302, Location=location), redirect_of(URL(typed), location))
    assert found.verdict is Verdict.BROKEN
    assert change in found.changes[0].what
