"""What must not be shown, and that it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mooring.doctor.hiding import hidden
from mooring.doctor.plan import Plan

TOKEN = "token-0123456789abcdef"
HOST = URL("https://mcp.example.com/mcp")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing in it", "nothing in it"),
        (f"Bearer {TOKEN} is wrong: {TOKEN}", "Bearer *** is wrong: ***"),
        ("cut: token-0123", "cut: ***"),
        ("cut: token-0123…", "cut: ***…"),
        ("cut: token-0123… and more", "cut: ***… and more"),
        ("too little to tell: token", "too little to tell: token"),
        ("another one: token-9", "another one: token-9"),
        (TOKEN[:-1], "***"),
        ("", ""),
    ],
)
def test_a_secret_is_hidden_whole_or_cut(text: str, shown: str) -> None:
    assert hidden(text, [TOKEN]) == shown


def test_the_longer_one_of_two_leaves_nothing_behind() -> None:
    plan = Plan(HOST, tokens=(TOKEN, f"{TOKEN}-more"))
    assert hidden(f"{TOKEN}-more {TOKEN}", plan.secrets) == "*** ***"


@given(st.text("ab", min_size=12, max_size=20), st.text("abc …", max_size=30), st.text("abc …", max_size=30))
def test_no_text_ends_in_the_half_of_a_secret_or_holds_it(secret: str, before: str, after: str) -> None:
    for cut in range(6, len(secret) + 1):
        shown = hidden(f"{before}{secret[:cut]}", [secret])
        assert secret not in shown
        assert not any(shown.endswith(secret[:length]) for length in range(6, len(secret)))
    assert secret not in hidden(before + secret + after, [secret])


def test_the_url_itself_is_shown_without_them() -> None:
    for text in ("https://h/mcp?api_key=a%2Fb%20c", "https://h/mcp?api_key=a/b+c", "https://h/mcp?api_key=a/b c"):
        url = URL(text)
        assert hidden(str(url), Plan(url).secrets) == "https://h/mcp?api_key=***"
