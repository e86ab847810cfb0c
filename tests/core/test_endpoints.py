from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.endpoints import FOUND_AT_MOST, FOUND_LENGTH, Endpoints

PATHS = st.lists(st.text("abm", min_size=1, max_size=3), max_size=4).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/mcp", "/mcp"),
        ("/mcp/", "/mcp"),
        ("/mcp/files/1", "/mcp"),
        ("/a/mcp", "/a/mcp"),
        ("/a/mcp/x", "/a/mcp"),
        ("/servers/7/mcp", "/servers/7/mcp"),
        ("/servers/7/mcp/", "/servers/7/mcp"),
        ("/servers/7/mcp/x/y", "/servers/7/mcp"),
        ("/mcpx", None),
        ("/a", None),
        ("/", None),
        ("", None),
        ("/servers/mcp", None),
        ("/servers//mcp", None),
        ("/servers/7/8/mcp", None),
        ("/servers/7/mcpx", None),
        ("/x/servers/7/mcp", None),
        ("/b/mcp", None),
    ],
)
def test_a_path_belongs_to_the_endpoint_at_it_or_above_it(path: str, endpoint: str | None) -> None:
    assert Endpoints(["/mcp", "/a/mcp", "/servers/{id}/mcp"], finds=True).of(path) == endpoint


def test_the_deepest_endpoint_has_it() -> None:
    endpoints = Endpoints(["/mcp", "/mcp/inner"], finds=True)
    assert [endpoints.of(path) for path in ("/mcp/inner/x", "/mcp/other")] == ["/mcp/inner", "/mcp"]


def test_below_the_root_is_everything_so_nothing_belongs_to_it() -> None:
    endpoints = Endpoints(["/"], finds=True)
    assert [endpoints.of(path) for path in ("/", "/x", "/x/")] == ["/", None, None]


def test_an_endpoint_is_found_once_and_then_known() -> None:
    endpoints = Endpoints(["/mcp"], finds=True)
    assert [endpoints.find(path) for path in ("/b/mcp/", "/b/mcp", "/mcp", "/b/mcp/below", "/")] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert endpoints.known == ("/mcp", "/b/mcp", "/")
    assert endpoints.of("/b/mcp/x") == "/b/mcp"


def test_a_list_that_is_pinned_stays_as_it_is() -> None:
    endpoints = Endpoints(["/mcp", "/s/{id}/mcp"], finds=False)
    assert not endpoints.find("/b/mcp")
    assert endpoints.known == ("/mcp", "/s/{id}/mcp")


def test_no_more_are_found_than_a_node_can_hold() -> None:
    endpoints = Endpoints([], finds=True)
    assert sum(endpoints.find(f"/{number}/mcp") for number in range(FOUND_AT_MOST + 10)) == FOUND_AT_MOST


def test_a_pattern_is_no_regular_expression() -> None:
    assert Endpoints(["/a.c/{id}/(mcp|x)"], finds=True).of("/abc/1/mcp") is None
    assert Endpoints(["/a.c/{id}/(mcp|x)"], finds=True).of("/a.c/1/(mcp|x)") == "/a.c/1/(mcp|x)"


@given(st.lists(PATHS, max_size=4), PATHS)
def test_what_a_path_belongs_to_is_at_it_or_above_it(endpoints: list[str], path: str) -> None:
    endpoint = Endpoints(endpoints, finds=True).of(path)
    fitting = [known for known in endpoints if path == known or (known != "/" and path.startswith(known + "/"))]
    assert endpoint == (max(fitting, key=len) if fitting else None)


def test_a_path_of_very_many_parts_takes_no_time() -> None:
    endpoints = Endpoints(["/mcp", "/servers/{id}/mcp"], finds=True)
    began = time.process_time()
    assert [endpoints.of("/" * 60_000), endpoints.of("/mcp" + "/" * 60_000)] == [None, "/mcp"]
    assert time.process_time() - began < 0.05


def test_no_path_is_found_that_stands_for_others() -> None:
    """A client that writes braces would have a load balancer send all such paths here."""
    endpoints = Endpoints(["/mcp"], finds=True)
    assert not any(endpoints.find(path) for path in ("/{tenant}/mcp", "/{x", "/x}"))
    assert endpoints.known == ("/mcp",)


def test_no_path_is_found_that_is_longer_than_any_is() -> None:
    endpoints = Endpoints(["/mcp"], finds=True)
    assert endpoints.find("/" + "a" * (FOUND_LENGTH - 1))
    assert not endpoints.find("/" + "b" * FOUND_LENGTH)
