from __future__ import annotations

import pytest

from mooring.doctor.client.event_stream import stream_facts


@pytest.mark.parametrize(
    ("body", "events", "comments", "retry", "ids", "primed"),
    [
        (b"", 0, 0, None, (), False),
        (b"data: {}\n\n", 1, 0, None, (), False),
        (b"id: 1\r\ndata: \r\nretry: 200\r\n\r\nid: 2\r\ndata: {}\r\n\r\n", 2, 0, 200, ("1", "2"), True),
        (b"id: a\nretry: 300\ndata: \n\n", 1, 0, 300, ("a",), True),
        (b"id: 1\n\nid: 2\ndata: {}\n\n", 1, 0, None, ("1", "2"), True),
        (b"id: 2\ndata: {}\n\n", 1, 0, None, ("2",), False),
        (b"data:\n\n", 1, 0, None, (), False),
        (b": ping - 12:00\r\n\r\n: ping - 12:15\r\n\r\n", 0, 2, None, (), False),
        (b": hello\n: and more of it\n\n", 0, 1, None, (), False),
        (b":\n:\n:\n", 0, 3, None, (), False),
        (b"retry: 5\n\nretry: x\n\n", 0, 0, 5, (), False),
        (b'id: 7\ndata: "retry: 3"\ndata: : no comment\n\n', 1, 0, None, ("7",), False),
    ],
)
def test_what_a_stream_says(
    body: bytes, events: int, comments: int, retry: int | None, ids: tuple[str, ...], primed: bool
) -> None:
    facts = stream_facts(body)
    assert (len(facts.events), facts.comments) == (events, comments)
    assert (facts.retry_milliseconds, facts.ids, facts.is_primed) == (retry, ids, primed)
    assert facts.sendings == events + comments
