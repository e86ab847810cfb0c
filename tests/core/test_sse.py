from __future__ import annotations

import itertools
import re
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mooring.core.sse import (
    BEFORE_ALL,
    SseBareBlock,
    SseComment,
    SseEvent,
    SseParser,
    SsePart,
    encode,
    ends_block,
    last_bytes,
)

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
        b"retry:007",
        b"retry: 1_0",
        b"retry: +1",
        b"retry: \xd9\xa1",
        b"retry: 999999999999999",
        b"retry: 1000000000000000",
        b"retry",
        b": comment",
        b":  two spaces",
        b": \xff",
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


def reference(stream: bytes) -> list[SsePart]:
    """The specification's steps on a whole stream, in its order: decode, split, take field by field.

    It tells more than an EventSource fires: what an event without data leaves behind, and comments. And it differs in
    three things, as the parser does: id and retry are told with their block and not kept for those that follow; a retry
    of more than 15 digits is none; and an event without a name is not called `message`.
    """
    text = stream.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)[:-1]
    parts: list[SsePart] = []
    data_buffer, event_type_buffer, event_id, reconnection_time = "", "", None, None
    for line in lines:
        if line == "":
            if data_buffer != "":
                data = data_buffer.removesuffix("\n")
                parts.append(SseEvent(data, event_type_buffer, event_id, reconnection_time))
            elif event_type_buffer != "" or event_id is not None or reconnection_time is not None:
                parts.append(SseBareBlock(event_type_buffer, event_id, reconnection_time))
            data_buffer, event_type_buffer, event_id, reconnection_time = "", "", None, None
        elif line.startswith(":"):
            parts.append(SseComment(line[2:] if line.startswith(": ") else line[1:]))
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
            elif field == "retry" and re.fullmatch("[0-9]{1,15}", value):
                reconnection_time = int(value)
    return parts


def events_of(parts: list[SsePart]) -> list[SseEvent]:
    return [part for part in parts if isinstance(part, SseEvent)]


def read(*pieces: bytes) -> list[SsePart]:
    parser = SseParser()
    return [part for piece in pieces for part in parser.read(piece)]


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
    assert read(stream) == reference(stream)
    assert parse(stream) == events_of(reference(stream))


@PROPERTY
@given(st.binary(max_size=60))
def test_any_bytes_read_as_the_specification_reads_them(stream: bytes) -> None:
    assert read(stream) == reference(stream)
    assert parse(stream) == events_of(reference(stream))


@PROPERTY
@given(streams, cuts)
@example(b"data: x\r\n\r\n", [8, 9, 10])
@example(b"data: x\r\r\n", [8, 8, 9])
@example(b"data: x\r\n\ndata: y\n\n", [8])
@example(b"\xef\xbb\xbfdata: \xc3\xbc\n\n", [1, 2, 10])
def test_how_a_stream_is_cut_changes_nothing(stream: bytes, places: list[int]) -> None:
    assert read(*in_pieces(stream, places)) == reference(stream)


@PROPERTY
@given(streams)
def test_byte_by_byte_is_the_same(stream: bytes) -> None:
    assert read(*(stream[n : n + 1] for n in range(len(stream)))) == reference(stream)


@PROPERTY
@given(streams, cuts)
def test_all_is_given_with_the_piece_that_completes_it(stream: bytes, places: list[int]) -> None:
    parser = SseParser()
    fed = b""
    seen: list[SsePart] = []
    for piece in in_pieces(stream, places):
        fed += piece
        seen += parser.read(piece)
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
    assert parse(b"id: s.0\nretry: 5000\ndata:\n\n") == [SseEvent("", id="s.0", retry_milliseconds=5000)]


def test_a_block_without_data_is_no_event_and_leaves_nothing_behind() -> None:
    stream = b"id: 1\nevent: ping\n\ndata: x\n\nretry: 5\n\nid\n\n"
    assert parse(stream) == [SseEvent("x")]
    assert read(stream) == [
        SseBareBlock("ping", "1"),
        SseEvent("x"),
        SseBareBlock(retry_milliseconds=5),
        SseBareBlock(id=""),
    ]


def test_a_block_that_says_nothing_is_none() -> None:
    assert read(b"\n\nnonsense: 1\n\nevent:\n\nid: 1\0\n\nretry: soon\n\n") == []


def test_a_name_that_is_said_is_not_one_that_is_left_out() -> None:
    assert parse(b"event: message\ndata: x\n\ndata: y\n\n") == [SseEvent("x", "message"), SseEvent("y")]


def test_comments_are_no_events() -> None:
    stream = b": keep-alive\n\n:\n\n: data: x\n\n"
    assert parse(stream) == []
    assert read(stream) == [SseComment("keep-alive"), SseComment(""), SseComment("data: x")]


def test_a_comment_is_given_with_its_own_line() -> None:
    parser = SseParser()
    assert parser.read(b"data: x\n: still there\n") == [SseComment("still there")]
    assert parser.read(b"\n") == [SseEvent("x")]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_comment_says_whether_it_goes_on(size: int) -> None:
    stream = b": a\n: b\r\n:\r\n\r\n: c\rdata: x\r: d\n\n: e\n"
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    said = {part.text: part.continues for part in read(*pieces) if isinstance(part, SseComment)}
    assert said == {"a": False, "b": True, "": True, "c": False, "d": False, "e": False}


def test_an_event_that_is_not_whole_is_not_given() -> None:
    assert parse(b"data: x\n") == []
    assert parse(b"data: x\n\ndata: y") == [SseEvent("x")]


def test_only_line_ends_of_the_specification_end_a_line() -> None:
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f"
    assert parse(f"data: {text}\n\n".encode()) == [SseEvent(text)]


# What is written.

fields_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
one_line = fields_text.filter(lambda text: "\n" not in text and "\r" not in text)
ids = st.none() | one_line.filter(lambda text: "\0" not in text)
waits = st.none() | st.integers(0, 10**15 - 1)
events = st.builds(SseEvent, fields_text.filter(lambda text: "\r" not in text), one_line, ids, waits)
bare_blocks = st.builds(SseBareBlock, one_line, ids, waits).filter(lambda block: block != SseBareBlock())
parts = events | bare_blocks | st.builds(SseComment, one_line)


@PROPERTY
@given(st.lists(parts, max_size=8), cuts)
@example([SseEvent("\ufeff"), SseComment("\ufeff"), SseEvent(" a\n\n b\n"), SseEvent("")], [1, 2, 3])
@example([SseComment(" a"), SseComment("b"), SseBareBlock(id=""), SseBareBlock("x"), SseEvent("\0", "\0")], [])
def test_what_is_written_is_read_again(written: list[SsePart], places: list[int]) -> None:
    assert read(*in_pieces(b"".join(map(encode, written)), places)) == written


@PROPERTY
@given(streams | st.binary(max_size=60))
def test_what_is_read_can_be_written_and_means_the_same(stream: bytes) -> None:
    parts = read(stream)
    assert read(*map(encode, parts)) == parts
    assert fired(b"".join(map(encode, parts))) == fired(stream)


def fired(stream: bytes) -> tuple[list[tuple[str, str, str]], str, int | None]:
    """What an EventSource makes of a stream: its events, the last event id and the reconnection time.

    An id counts from the end of its block on, and lasts. So does retry, as far as the parser goes: read by the letter
    it counts from its own line on, also in a stream that breaks off before the block ends.
    """
    last_event_id, reconnection_time = "", None
    seen: list[tuple[str, str, str]] = []
    for part in reference(stream):
        if isinstance(part, SseComment):
            continue
        last_event_id = part.id if part.id is not None else last_event_id
        reconnection_time = part.retry_milliseconds if part.retry_milliseconds is not None else reconnection_time
        if isinstance(part, SseEvent):
            seen.append((part.event or "message", part.data, last_event_id))
    return seen, last_event_id, reconnection_time


@pytest.mark.parametrize(
    ("part", "written"),
    [
        (SseEvent("{}", "message", "s.1"), b"event: message\nid: s.1\ndata: {}\n\n"),
        (SseEvent("", id="s.0", retry_milliseconds=500), b"id: s.0\nretry: 500\ndata: \n\n"),
        (SseEvent("a\nb\n"), b"data: a\ndata: b\ndata: \n\n"),
        (SseBareBlock(retry_milliseconds=0), b"retry: 0\n\n"),
        (SseBareBlock(id=""), b"id: \n\n"),
        (SseComment("keep-alive"), b": keep-alive\n\n"),
        (SseComment("", continues=True), b": \n\n"),
    ],
)
def test_how_it_is_written(part: SsePart, written: bytes) -> None:
    assert encode(part) == written


@pytest.mark.parametrize(
    "part",
    [
        SseEvent("a\rb"),
        SseEvent("a\r\nb"),
        SseEvent("\ud800"),
        SseEvent("x", event="a\nb"),
        SseEvent("x", event="a\rb"),
        SseEvent("x", id="1\ndata: y"),
        SseEvent("x", id="1\r"),
        SseEvent("x", id="1\0"),
        SseEvent("x", retry_milliseconds=-1),
        SseEvent("x", retry_milliseconds=10**15),
        SseBareBlock(),
        SseBareBlock(id="\n"),
        SseComment("a\nb"),
        SseComment("a\r"),
    ],
)
def test_what_cannot_be_written_is_refused(part: SsePart) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(part)


anything = st.text(st.sampled_from("a :\n\r\0\ud800\ufeff"), max_size=6)


@PROPERTY
@given(
    st.builds(SseEvent, anything, anything, st.none() | anything, st.none() | st.integers())
    | st.builds(SseBareBlock, anything, st.none() | anything, st.none() | st.integers())
    | st.builds(SseComment, anything)
)
def test_nothing_is_written_that_would_be_read_as_something_else(part: SsePart) -> None:
    try:
        written = encode(part)
    except ValueError:
        return
    assert read(written) == [part]


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


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_the_last_bytes_tell_where_a_block_ends_however_they_come(end: bytes, size: int) -> None:
    said, tail = b"data: 1" + end, BEFORE_ALL
    assert ends_block(tail)
    for at in range(0, len(said), size):
        tail = last_bytes(tail, said[at : at + size])
        assert ends_block(tail) is said[: at + size].endswith(end)
