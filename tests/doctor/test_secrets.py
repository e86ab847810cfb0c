"""What the operator keeps secret is known from the plan, and is not shown."""

from __future__ import annotations

from yarl import URL

from mooring.core.masking import masked_secrets
from mooring.doctor.plan import Plan

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
