"""The verdict on what redirects."""

from __future__ import annotations

import pytest
from yarl import URL

from mooring.doctor.checks.redirects import redirected, redirected_away
from mooring.doctor.evidence.redirects import redirect_of
from mooring.doctor.findings import Verdict
from tests.doctor.examinations import examination, reply


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
