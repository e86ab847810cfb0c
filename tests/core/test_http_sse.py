"""Reading and rewriting the first event of the HTTP+SSE transport, and the query of what is posted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.http_sse import (
    HELD_AT_MOST,
    FirstEvent,
    PostAddress,
    id_in,
    read_address,
    readdressed,
    with_id,
    without_id,
)
from mooring.core.sse import SseParser

_OURS = "abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
_HEX = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (f"/messages/?session_id={_HEX}", "/messages/"),
        (f"/messages?sessionId={_HEX}", "/messages"),
        (f"/m?a=b&sessionid={_HEX}&c=d", "/m"),
        (f"https://host:8000/api/m?sessionId={_HEX}", "/api/m"),
        (f"?sessionId={_HEX}", ""),
        (f"/m?session_id={_HEX}#end", "/m"),
    ],
)
def test_an_address_with_a_session_id_in_its_query(data: str, path: str) -> None:
    assert read_address(data) == PostAddress(path, _HEX)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "/messages",
        f"/messages/{_HEX}",
        "/m?session_id=",
        "/m?my_session_id=a",
        "/m?session_id=a&sessionId=b",
        "/m#?session_id=a",
    ],
)
def test_an_address_of_another_shape(data: str) -> None:
    assert read_address(data) is None


def test_the_id_in_a_query_is_put_in_and_taken_out_where_it_stands() -> None:
    query = f"a=b&sessionId={_HEX}&c=%20d".encode()
    assert id_in(query) == _HEX
    assert with_id(query, _OURS) == f"a=b&sessionId={_OURS}&c=%20d".encode()
    assert without_id(query) == b"a=b&c=%20d"
    assert without_id(f"session_id={_HEX}".encode()) == b""


@given(st.binary(max_size=80))
def test_no_query_breaks_the_reading(query: bytes) -> None:
    found = id_in(query)
    if found is not None:
        assert with_id(query, found) == query
        assert id_in(with_id(query, _OURS)) == _OURS
    assert id_in(without_id(query)) is None


@given(
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", ": hello{0}{0}", "retry: 3000{0}{0}", ": a{0}: b{0}{0}"]),
    st.sampled_from(["event: endpoint{0}data: {1}{0}{0}", "data:{1}{0}event:endpoint{0}id: 1{0}{0}"]),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_only_the_id_of_the_first_event_is_changed(end: str, before: str, block: str, cuts: list[int]) -> None:
    data = f"/messages/?session_id={_HEX}"
    after = f"event: message{end}data: {data}{end}{end}"
    stream = (before.format(end) + block.format(end, data) + after).encode()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    first, out = FirstEvent(), b""
    for start, stop in itertools.pairwise(places):
        piece = stream[start:stop]
        if first.is_over:
            out += piece
            continue
        leaving = first.feed(piece)
        if first.event is not None:
            changed = readdressed(leaving, first.event.data, _OURS)
            assert changed is not None
            leaving = changed
        out += leaving
    assert out == stream.replace(_HEX.encode(), _OURS.encode(), 1)


def test_comments_leave_while_the_event_is_awaited() -> None:
    first = FirstEvent()
    assert first.feed(b": ping\n\n") == b": ping\n\n"
    assert first.feed(b"event: end") == b""
    assert first.feed(b"point\ndata: /m?session_id=a\n\nrest") == b"event: endpoint\ndata: /m?session_id=a\n\nrest"
    assert first.is_over
    assert first.event is not None
    assert first.event.event == "endpoint"


def test_what_is_longer_than_any_address_is_let_go() -> None:
    first = FirstEvent()
    piece = b"data: " + b"x" * HELD_AT_MOST
    assert first.feed(piece) == piece
    assert first.is_over
    assert first.event is None


def test_an_address_in_several_lines_is_left_alone() -> None:
    held = b"event: endpoint\ndata: /m\ndata: ?session_id=a\n\n"
    [event] = SseParser().feed(held)
    assert readdressed(held, event.data, _OURS) is None
