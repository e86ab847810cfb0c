from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.set_cookie import SetCookie, Unsent, cookies_of, parse

NOW = 1_800_000_000.0
MCP = URL("https://mcp.example.com/mcp")


def cookie(line: str) -> SetCookie:
    parsed = parse(line, NOW)
    assert parsed is not None
    return parsed


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=b", SetCookie("a", "b")),
        (" a = b ; HttpOnly; secure", SetCookie("a", "b", secure=True, http_only=True)),
        ("a=b=c; Path=/mcp; SameSite=Strict", SetCookie("a", "b=c", path="/mcp", same_site="strict")),
        ("a=b; path=/; HttpOnly; Path=/mcp", SetCookie("a", "b", path="/mcp", http_only=True)),
        ("a=b; Path=mcp", SetCookie("a", "b")),
        ("a=b; Path", SetCookie("a", "b")),
        ("a=b; Domain=.Example.com", SetCookie("a", "b", domain="example.com")),
        ("a=b; Domain=", SetCookie("a", "b")),
        ("a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", SetCookie("a", "b", lifetime_seconds=60.0)),
        ("a=b; Max-Age=x", SetCookie("a", "b")),
        ("a=b; Max-Age=-1", SetCookie("a", "b", lifetime_seconds=-1.0)),
        ("a=b; Expires=Fri, 15 Jan 2027 09:00:00 GMT", SetCookie("a", "b", lifetime_seconds=3600.0)),
        ("a=b; Expires=Fri, 15-Jan-27 09:00:00 GMT", SetCookie("a", "b", lifetime_seconds=3600.0)),
        ("a=b; Expires=soon", SetCookie("a", "b")),
        ("a=", SetCookie("a", "")),
        ("a", None),
        ("=b", None),
        ("", None),
    ],
)
def test_a_header_is_read_as_clients_read_it(line: str, expected: SetCookie | None) -> None:
    assert parse(line, NOW) == expected


@given(st.text())
def test_no_header_is_too_strange_to_be_read(line: str) -> None:
    parsed = parse(line, NOW)
    assert parsed is None or (parsed.name and (parsed.path is None or parsed.path.startswith("/")))


@pytest.mark.parametrize(
    ("line", "url", "unsent"),
    [
        ("a=b", "https://host/mcp", None),
        ("a=b", "https://host/", None),
        ("a=b; Path=/mcp", "https://host/mcp", None),
        ("a=b; Path=/mcp/", "https://host/mcp/", None),
        ("a=b; Path=/mcp/", "https://host/mcp", Unsent.PATH),
        ("a=b; Path=/mc", "https://host/mcp", Unsent.PATH),
        ("a=b; Path=/other", "https://host/mcp", Unsent.PATH),
        ("a=b; Path=/MCP", "https://host/mcp", Unsent.PATH),
        ("a=b; Domain=example.com", "https://mcp.example.com/mcp", None),
        ("a=b; Domain=mcp.example.com", "https://mcp.example.com/mcp", None),
        ("a=b; Domain=other.com", "https://mcp.example.com/mcp", Unsent.DOMAIN),
        ("a=b; Domain=ample.com", "https://example.com/mcp", Unsent.DOMAIN),
        ("a=b; Domain=0.0.1", "https://127.0.0.1/mcp", Unsent.DOMAIN),
        ("a=b; Domain=127.0.0.1", "https://127.0.0.1/mcp", None),
        ("a=b; Secure", "https://host/mcp", None),
        ("a=b; Secure", "http://host/mcp", Unsent.SECURE),
        ("a=b; Max-Age=0", "https://host/mcp", Unsent.EXPIRED),
        ("a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "https://host/mcp", Unsent.EXPIRED),
        ("a=b; Max-Age=1", "https://host/mcp", None),
    ],
)
def test_what_clients_send_back(line: str, url: str, unsent: Unsent | None) -> None:
    assert cookie(line).unsent(URL(url)) is unsent


def test_the_default_path_is_that_of_the_directory() -> None:
    assert cookie("a=b").path_at(URL("http://host/api/v1/mcp")) == "/api/v1"
    assert cookie("a=b").path_at(URL("http://host/mcp")) == "/"
    assert cookie("a=b").unsent(URL("http://host/other"), set_by=URL("http://host/api/mcp")) is Unsent.PATH


def test_expiry_is_read_against_the_clock_of_who_set_it() -> None:
    headers = CIMultiDict(
        [
            ("Date", "Thu, 01 Jan 2015 00:00:00 GMT"),
            ("Set-Cookie", "a=b; Expires=Thu, 01 Jan 2015 00:01:00 GMT"),
            ("Set-Cookie", "nonsense"),
            ("Set-Cookie", "c=d"),
        ]
    )
    first, second = cookies_of(Reply(headers=CIMultiDictProxy(headers)))
    assert (first.lifetime_seconds, second.name) == (60.0, "c")
