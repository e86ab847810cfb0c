from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.sse import SseEvent, SseParser

PROPERTY = settings(deadline=None, max_examples=300)
MIB = 1024 * 1024

line_ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
fields = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  two spaces",
        b"data",
        b"data:",
        b"data: a:b",
        "data: \u00fc\U0001f600".encode(),
        b"data: \xe2\x82",
        b"data: \xff\xfe",
        b"data: \x0b\x0c\x1c\x85",
        "data: \u2028".encode(),
        b"id: 7",
        b"id",
        b"id: with\0nul",
        b"id: \xff",
        b"event: ping",
        b"event",
        b"retry: 10",
        b": comment",
        b":",
        b" data: indented",
        b"Data: no",
        b"nonsense",
        b"\xef\xbb\xbfdata: bom",
        b"\0",
        b"",
        b"",
        b"",
    ]
)
streams = st.builds(
    lambda bom, lines, rest: bom + b"".join(line + end for line, end in lines) + rest,
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(st.tuples(fields | st.binary(max_size=6), line_ends), max_size=20),
    st.binary(max_size=6),
)


def reference(stream: bytes) -> list[SseEvent]:
    """The specification's steps on a whole stream, in its order: decode, split, take field by field.

    It differs from them in one thing, as `SseEvent` does: an id is told with the events that have an id line,
    and is not kept for those that follow.
    """
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)[:-1]
    events: list[SseEvent] = []
    data_buffer, event_type_buffer, event_id = "", "", None
    for line in lines:
        if line == "":
            if data_buffer != "":
                events.append(SseEvent(data_buffer.removesuffix("\n"), event_type_buffer or "message", event_id))
            data_buffer, event_type_buffer, event_id = "", "", None
        elif line.startswith(":"):
            pass
        else:
            field, value = line, ""
            if ":" in line:
                field, value = line.split(":", 1)
                if value.startswith(" "):
                    value = value[1:]
            if field == "event":
                event_type_buffer = value
            elif field == "data":
                data_buffer += value + "\n"
            elif field == "id" and "\0" not in value:
                event_id = value
    return events


def parse(*pieces: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """`stream` cut at these places, where a place that repeats gives an empty piece."""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=12)


@PROPERTY
@given(streams)
@example(b"\xef\xbb\xbfdata: x\n\n")
@example(b"data\n\ndata\ndata\n\ndata:")
def test_a_stream_reads_as_the_specification_reads_it(stream: bytes) -> None:
    assert parse(stream) == reference(stream)


@PROPERTY
@given(st.binary(max_size=60))
def test_any_bytes_read_as_the_specification_reads_them(stream: bytes) -> None:
    assert parse(stream) == reference(stream)


@PROPERTY
@given(streams, cuts)
@example(b"data: x\r\n\r\n", [8, 9, 10])
@example(b"data: x\r\r\n", [8, 8, 9])
@example(b"data: x\r\n\ndata: y\n\n", [8])
@example(b"\xef\xbb\xbfdata: \xc3\xbc\n\n", [1, 2, 10])
def test_how_a_stream_is_cut_changes_nothing(stream: bytes, places: list[int]) -> None:
    assert parse(*in_pieces(stream, places)) == reference(stream)


@PROPERTY
@given(streams)
def test_byte_by_byte_is_the_same(stream: bytes) -> None:
    assert parse(*(stream[n : n + 1] for n in range(len(stream)))) == reference(stream)


@PROPERTY
@given(streams, cuts)
def test_an_event_is_given_with_the_piece_that_completes_it(stream: bytes, places: list[int]) -> None:
    parser = SseParser()
    fed = b""
    seen: list[SseEvent] = []
    for piece in in_pieces(stream, places):
        fed += piece
        seen += parser.feed(piece)
        assert seen == reference(fed)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_every_line_end_ends_a_line(end: str) -> None:
    stream = end.join(["id: 1", "event: ping", "data: a", "data: b", "", "data: c", "", ""]).encode()
    assert parse(stream) == [SseEvent("a\nb", "ping", "1"), SseEvent("c")]


def test_an_event_ends_at_a_cr_without_waiting_for_what_follows() -> None:
    parser = SseParser()
    assert parser.feed(b"data: x\r\n\r") == [SseEvent("x")]
    assert parser.feed(b"\n") == []
    assert parser.feed(b"data: y\n\n") == [SseEvent("y")]


def test_an_id_with_nul_is_ignored_and_an_empty_one_is_not() -> None:
    assert parse(b"id: 1\nid: 2\0\ndata: x\n\n") == [SseEvent("x", id="1")]
    assert parse(b"id\ndata: x\n\n") == [SseEvent("x", id="")]
    assert parse(b"data: x\n\n") == [SseEvent("x", id=None)]


def test_a_priming_event_has_an_id_and_empty_data() -> None:
    assert parse(b"id: s.0\nretry: 5000\ndata:\n\n") == [SseEvent("", id="s.0")]


def test_an_event_without_data_is_none_and_leaves_nothing_behind() -> None:
    assert parse(b"id: 1\nevent: ping\n\ndata: x\n\n") == [SseEvent("x")]


def test_comments_are_no_events() -> None:
    assert parse(b": keep-alive\n\n:\n\n: data: x\n\n") == []


def test_an_event_that_is_not_whole_is_not_given() -> None:
    assert parse(b"data: x\n") == []
    assert parse(b"data: x\n\ndata: y") == [SseEvent("x")]


def test_only_line_ends_of_the_specification_end_a_line() -> None:
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f"
    assert parse(f"data: {text}\n\n".encode()) == [SseEvent(text)]


# What is held.


@PROPERTY
@given(streams, cuts)
def test_no_more_is_pending_than_came_since_the_last_event(stream: bytes, places: list[int]) -> None:
    parser = SseParser()
    since_last_event = 0
    for piece in in_pieces(stream, places):
        since_last_event += len(piece)
        assert 0 <= parser.pending_bytes <= since_last_event
        if parser.feed(piece):
            since_last_event = len(piece)
        assert parser.pending_bytes <= since_last_event


@PROPERTY
@given(streams)
def test_nothing_is_pending_after_an_empty_line(stream: bytes) -> None:
    parser = SseParser()
    parser.feed(stream + b"\n\n")
    assert parser.pending_bytes == 0


@pytest.mark.parametrize(
    "piece",
    [b"data: x" * 10, b"data: xxxxx\n", b"data\n", b"data:\n", "data: \U0001f600\n".encode()],
    ids=["unfinished line", "data", "data without colon", "empty data", "four-byte letters"],
)
def test_whatever_is_held_is_counted(piece: bytes) -> None:
    """At least a byte for each held line, so that nobody fills the memory with an event that never ends."""
    parser = SseParser()
    counts = []
    for _ in range(100):
        parser.feed(piece)
        counts.append(parser.pending_bytes)
    assert counts == sorted(set(counts))
    assert counts[-1] >= 100 * (len(piece) - len(b"data: \n"))


@pytest.mark.parametrize("name", [b"id", b"event"])
def test_a_long_id_or_name_is_counted(name: bytes) -> None:
    parser = SseParser()
    parser.feed(name + b": " + b"x" * 1_000 + b"\n")
    assert parser.pending_bytes >= 1_000


@pytest.mark.parametrize("line", [b": comment\n", b"retry: 10\n", b"nonsense\n", b"id: 7\n", b"event: ping\n"])
def test_lines_that_are_not_kept_are_not_counted(line: bytes) -> None:
    """A stream of keep-alives goes on for days."""
    parser = SseParser()
    for _ in range(1_000):
        parser.feed(line)
    assert parser.pending_bytes <= len(line)


# Speed: a parser that is slower than the app that writes would be the bottleneck of every stream.


def seconds_for(pieces: list[bytes]) -> float:
    parser = SseParser()
    start = time.perf_counter()
    for piece in pieces:
        parser.feed(piece)
    return time.perf_counter() - start


def test_a_mebibyte_is_read_in_a_fraction_of_a_second() -> None:
    event = b'id: s.12\r\ndata: {"jsonrpc":"2.0","id":1,"result":"' + b"x" * 300 + b'"}\r\n\r\n'
    stream = event * (MIB // len(event))
    pieces = [stream[start : start + 4096] for start in range(0, len(stream), 4096)]
    assert min(seconds_for(pieces) for _ in range(5)) < 0.05


def test_a_long_line_in_many_pieces_takes_time_in_proportion() -> None:
    """Quadratic would be 16 times the time for 4 times the pieces, and minutes for a mebibyte."""
    pieces = [b"x" * 64] * (MIB // 64)
    assert min(seconds_for([b"data: ", *pieces, b"\n\n"]) for _ in range(3)) < 0.5
