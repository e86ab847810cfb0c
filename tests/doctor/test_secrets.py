"""What the operator keeps secret is known from the plan, and is not shown."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from yarl import URL

from mooring.core.masking import masked_secrets
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.markdown import markdown
from mooring.doctor.plan import Plan
from tests.doctor.odd import Odd, refusal, running_odd
from tests.doctor.runs import run

TOKEN = "token-0123456789abcdef"
HOST = URL("https://mcp.example.com/mcp")


def test_the_longer_one_of_two_leaves_nothing_behind() -> None:
    plan = Plan(HOST, tokens=(TOKEN, f"{TOKEN}-more"))
    assert masked_secrets(f"{TOKEN}-more {TOKEN}", plan.secrets) == "*** ***"


def test_the_url_itself_is_shown_without_them() -> None:
    for text in ("https://h/mcp?api_key=a%2Fb%20c", "https://h/mcp?api_key=a/b+c", "https://h/mcp?api_key=a/b c"):
        url = URL(text)
        assert masked_secrets(str(url), Plan(url).secrets) == "https://h/mcp?api_key=***"


def test_another_path_may_have_a_secret_in_its_query_too() -> None:
    plan = Plan(HOST, other_path="/graphql?page=2&api_key=tiger-9f2c")
    assert masked_secrets("mooring doctor --other-path '/graphql?page=2&api_key=tiger-9f2c'", plan.secrets) == (
        "mooring doctor --other-path '/graphql?page=2&api_key=***'"
    )


@pytest.mark.parametrize("words", ["Session not found: {}", "no session {} on this node"])
async def test_no_session_is_named_whole_though_the_server_does(words: str) -> None:
    """Every other call is lost, and the answer says which session it was for."""
    asked, sent = iter(range(10_000)), set[str]()

    def knows(request: web.Request, odd: Odd) -> bool:
        return request.headers[SESSION] in odd.live and next(asked) % 2 == 0

    def refuse(request: web.Request) -> web.Response:
        sent.add(request.headers[SESSION])
        return refusal(404, words.format(request.headers[SESSION]))

    async with running_odd(knows=knows, refuse=refuse) as odd:
        report = await run(odd.url, sessions=4, calls=3)
    shown = json.dumps(report.as_json()) + markdown(report, version="1", command="mooring doctor URL")
    named = {session_id for session_id in sent & odd.deleted | odd.live if session_id[:20] in shown}
    assert not named, report.findings
    assert "not found" in shown or "no session" in shown
