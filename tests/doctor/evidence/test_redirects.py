"""Where redirects lead, and what they have lost."""

from __future__ import annotations

import pytest
from yarl import URL

from mooring.doctor.evidence.redirects import Lost, is_inner, redirect_of


@pytest.mark.parametrize(
    ("typed", "location", "lost", "repaired"),
    [
        ("https://h.io/mcp", "/mcp/", (), "https://h.io/mcp/"),
        ("https://h.io/mcp/", "https://h.io/mcp", (), "https://h.io/mcp"),
        ("https://h.io/mcp", "/other", (), "https://h.io/other"),
        ("https://h.io/mcp", "http://h.io/mcp/", (Lost.SCHEME,), "https://h.io/mcp/"),
        ("https://h.io:8443/mcp", "http://h.io/mcp/", (Lost.SCHEME, Lost.PORT), "https://h.io:8443/mcp/"),
        ("http://h.io:8080/mcp", "http://h.io/mcp/", (Lost.PORT,), "http://h.io:8080/mcp/"),
        ("https://h.io/api/mcp", "/mcp/", (Lost.PREFIX,), "https://h.io/api/mcp/"),
        ("https://h.io/api/mcp", "http://h.io/mcp/", (Lost.PREFIX, Lost.SCHEME), "https://h.io/api/mcp/"),
        ("https://h.io/mcp", "http://10.0.0.7:8000/mcp/", (Lost.HOST,), "https://h.io/mcp/"),
        ("https://h.io/mcp", "http://backend/mcp/", (Lost.HOST,), "https://h.io/mcp/"),
        ("http://127.0.0.1:80/mcp", "http://nodes/mcp/", (Lost.HOST,), "http://127.0.0.1/mcp/"),
        ("https://h.io/mcp", "https://login.example/?next=/mcp", (), None),
        ("http://h.io/mcp", "https://h.io/mcp", (), None),
        ("https://h.io/mcp", "https://h.io/mcp", (), None),
        ("https://h.io/mcp", "", (), None),
        ("https://h.io/mcp", "http://[", (), None),
        ("https://h.io/mcp", "http://xn--/mcp", (), None),
        ("https://h.io/mcp", "https://h.io:443/mcp/", (), "https://h.io/mcp/"),
        ("http://h.io:80/mcp", "http://h.io/mcp/", (), "http://h.io/mcp/"),
    ],
)
def test_each_kind(typed: str, location: str, lost: tuple[Lost, ...], repaired: str | None) -> None:
    found = redirect_of(URL(typed), location)
    assert (found.lost, found.repaired and str(found.repaired)) == (lost, repaired and str(URL(repaired)))


def test_nobody_is_led_away_from_the_origin_that_was_typed() -> None:
    for location in ("http://h.io/mcp/", "http://10.1.1.1/mcp/", "https://h.io:99/mcp/"):
        repaired = redirect_of(URL("https://h.io/mcp"), location).repaired
        assert repaired is None or repaired.origin() == URL("https://h.io")


def test_what_means_nothing_elsewhere() -> None:
    assert [is_inner(host) for host in ("10.0.0.1", "backend", "x.svc", "8.8.8.8", "mcp.example.com")] == [
        *(True, True, True),
        *(False, False),
    ]
