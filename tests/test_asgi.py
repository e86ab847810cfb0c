"""What is read from a scope and written to a client, for any headers and any path."""

from __future__ import annotations

import asyncio
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.asgi import (
    HeaderList,
    Message,
    Scope,
    WholeBody,
    has_body,
    header,
    is_at,
    is_open_event_stream,
    media_type,
    off_root,
    replaced,
    respond,
    target_of,
    without,
    written,
)

PROPERTY = settings(deadline=None, max_examples=100)

NAME = b"mcp-session-id"
OTHER = b"accept"

cased = st.lists(st.booleans(), min_size=len(NAME), max_size=len(NAME)).map(
    lambda upper: bytes(byte - 32 * (up and 97 <= byte <= 122) for byte, up in zip(NAME, upper, strict=True))
)
names = st.sampled_from([NAME, OTHER, b"Accept", b"x-mcp-session-id", b"mcp-session-id-2"]) | cased
headers_of_apps = st.lists(st.tuples(names, st.binary(max_size=5)), max_size=6)
"""Apps write their names in any case."""


def values_of(headers: HeaderList, name: bytes) -> list[bytes]:
    return [value for given, value in headers if given.lower() == name]


# Headers.


@PROPERTY
@given(headers_of_apps)
def test_a_header_is_the_first_of_its_name_in_whatever_case(headers: HeaderList) -> None:
    assert header(headers, NAME) == next(iter(values_of(headers, NAME)), None)


@PROPERTY
@given(headers_of_apps, st.binary(max_size=5))
def test_replacing_changes_the_values_of_that_name_and_nothing_else(headers: HeaderList, value: bytes) -> None:
    changed = replaced(headers, NAME, value)
    assert [name for name, _ in changed] == [name for name, _ in headers]
    assert set(values_of(changed, NAME)) <= {value}
    assert without(changed, NAME) == without(headers, NAME)


@PROPERTY
@given(headers_of_apps)
def test_what_is_left_out_is_gone_and_the_rest_stays_in_order(headers: HeaderList) -> None:
    rest = without(headers, NAME)
    assert values_of(rest, NAME) == []
    assert rest == [pair for pair in headers if pair[0].lower() != NAME]
    assert without(headers) == headers
    assert without(headers, NAME, OTHER) == without(rest, OTHER)


@pytest.mark.parametrize(
    ("headers", "brings_one"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"000")], False),
        ([(b"content-length", b"10")], True),
        ([(b"content-length", b"1")], True),
        ([(b"transfer-encoding", b"chunked")], True),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"0")], True),
        ([(b"content-type", b"application/json")], False),
    ],
)
def test_a_request_brings_a_body_where_its_headers_say_so(headers: HeaderList, brings_one: bool) -> None:
    assert has_body(headers) is brings_one


# Paths.


@PROPERTY
@given(st.text("/%?#+ " + string.ascii_letters, min_size=1), st.none() | st.binary(max_size=20))
def test_a_target_is_what_the_client_sent(raw_path: str, query: bytes | None) -> None:
    scope: Scope = {"path": "/decoded", "raw_path": raw_path.encode(), "query_string": query}
    assert target_of(scope) == raw_path.encode() + (b"?" + query if query else b"")


@pytest.mark.parametrize("more", [{}, {"raw_path": None, "query_string": b""}])
def test_a_server_that_keeps_no_raw_path_gives_the_decoded_one(more: Scope) -> None:
    assert target_of({"path": "/mcp/ü?%/a b;~", **more}) == b"/mcp/%C3%BC%3F%25/a%20b;~"


@given(st.binary())
def test_a_target_goes_over_the_wire_in_ascii_and_once(target: bytes) -> None:
    wire = written(target)
    assert wire.isascii()
    assert not {*b" #\r\n"} & {*wire}
    assert written(wire) == wire


@pytest.mark.parametrize(
    ("root", "path", "below"),
    [
        ("/api", "/api/mcp", "/mcp"),
        ("/api", "/api/api/mcp", "/api/mcp"),
        ("/api", "/apis/mcp", None),
        ("/api", "/mcp", None),
        ("/api", "/api", None),
        ("", "/mcp", None),
    ],
)
def test_a_path_without_its_root(root: str, path: str, below: str | None) -> None:
    found = off_root({"path": path, "raw_path": path.encode(), "root_path": root})
    assert (found and (found["path"], found["raw_path"])) == (below and (below, below.encode()))


# Answers.


async def answered(body: bytes, **options: object) -> tuple[int, HeaderList, bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await respond(send, 404, body, **options)  # type: ignore[arg-type]
    start, end = sent
    assert (start["type"], end["type"], end["more_body"]) == ("http.response.start", "http.response.body", False)
    return start["status"], start["headers"], end["body"]


@PROPERTY
@given(st.binary(max_size=100), st.sampled_from(["GET", "HEAD", "POST"]))
async def test_an_answer_is_whole_and_kept_by_nobody(body: bytes, method: str) -> None:
    status, headers, sent = await answered(body, method=method)
    assert status == 404
    assert values_of(headers, b"content-length") == [str(len(body)).encode()]
    assert values_of(headers, b"cache-control") == [b"no-store"]
    assert values_of(headers, b"content-type") == ([b"text/plain; charset=utf-8"] if body else [])
    assert sent == (b"" if method == "HEAD" else body)


async def test_an_answer_may_have_headers_of_its_own() -> None:
    _, headers, _ = await answered(b"{}", content_type=b"application/json", extra=[(b"allow", b"GET")])
    assert (b"allow", b"GET") in headers
    assert values_of(headers, b"content-type") == [b"application/json"]


# Kinds of answers.


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, b""),
        (b"text/event-stream", b"text/event-stream"),
        (b"Text/Event-Stream; charset=utf-8", b"text/event-stream"),
        (b" application/json ;q", b"application/json"),
    ],
)
def test_a_media_type_is_without_its_parameters(value: bytes | None, kind: bytes) -> None:
    assert media_type([] if value is None else [(b"Content-Type", value)]) == kind


@pytest.mark.parametrize(
    ("more", "is_open"),
    [
        ([], True),
        ([(b"content-encoding", b"gzip")], False),
        ([(b"Content-Encoding", b"Identity")], True),
        ([(b"Content-Encoding", b"none")], True),
        ([(b"Content-Length", b"120")], False),
        ([(b"cache-control", b"no-store")], True),
    ],
)
def test_an_event_stream_is_open_where_it_can_be_read_and_added_to(more: HeaderList, is_open: bool) -> None:
    assert is_open_event_stream([(b"content-type", b"text/event-stream"), *more]) is is_open
    assert not is_open_event_stream([(b"content-type", b"application/json"), *more])


# Endpoints.


@pytest.mark.parametrize(
    ("scope", "is_there"),
    [
        ({"path": "/mcp"}, True),
        ({"path": "/mcp/"}, True),
        ({"path": "/mcp/below"}, False),
        ({"path": "/mcps"}, False),
        ({"path": "/api/mcp", "root_path": "/api"}, True),
    ],
)
def test_what_is_at_an_endpoint_is_not_what_is_below_it(scope: Scope, is_there: bool) -> None:
    assert is_at({"type": "http", **scope}, "/mcp") is is_there


def test_an_endpoint_may_be_named_as_the_client_has_it() -> None:
    """With what a server puts before each path."""
    assert is_at({"type": "http", "path": "/api/mcp/", "root_path": "/api"}, "/api/mcp")
    assert not is_at({"type": "http", "path": "/api/mcp/x", "root_path": "/api"}, "/api/mcp")


def test_the_endpoint_at_the_root_is_the_root_alone() -> None:
    assert is_at({"type": "http", "path": "/"}, "/")
    assert not is_at({"type": "http", "path": "/mcp"}, "/")


# What an app receives of a request that is made here.


async def test_a_body_is_received_once_and_then_the_sender_stays_until_it_leaves() -> None:
    body = WholeBody(b"{}")
    assert await body.receive() == {"type": "http.request", "body": b"{}", "more_body": False}
    waiting = asyncio.ensure_future(body.receive())
    await asyncio.sleep(0)
    assert not waiting.done()
    body.leave()
    assert await waiting == {"type": "http.disconnect"}


async def test_who_left_before_is_read_first() -> None:
    body = WholeBody(b"{}")
    body.leave()
    assert (await body.receive())["body"] == b"{}"
    assert (await body.receive())["type"] == "http.disconnect"
