"""The answer to a request: found whatever comes before it, in whatever pieces, and not waited for without an end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.core.answer_reader import LIMIT_BYTES, AnswerReader

ANSWER = {"jsonrpc": "2.0", "id": 1, "result": {"text": "n\u00e4\u00efve"}}
QUESTION = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
JSON = json.dumps(ANSWER, ensure_ascii=False).encode()
EVENTS = f"id: 1\ndata: \n\n: still there\ndata: {json.dumps(QUESTION)}\n\ndata: {json.dumps(ANSWER)}\n\n".encode()


@pytest.mark.parametrize(("in_events", "whole"), [(False, JSON), (True, EVENTS)])
@given(data=st.data())
def test_it_is_found_in_any_pieces_once_it_is_whole(in_events: bool, whole: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    reader = AnswerReader(in_events=in_events)
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert not any(reader.feed(piece) for piece in pieces[:-1])
    assert reader.feed(pieces[-1])
    assert reader.message == ANSWER


@pytest.mark.parametrize("other", [QUESTION, [ANSWER], "text", {"result": 1, "method": "x"}])
def test_what_is_no_answer_is_not_taken_for_one(other: object) -> None:
    in_json, in_events = AnswerReader(in_events=False), AnswerReader(in_events=True)
    assert not in_json.feed(json.dumps(other).encode())
    assert not in_events.feed(f"data: {json.dumps(other)}\n\n".encode())
    assert in_json.message is in_events.message is None


@pytest.mark.parametrize(("in_events", "beginning"), [(False, b"["), (True, b"data: ")])
def test_what_is_larger_than_any_answer_is_given_up(in_events: bool, beginning: bytes) -> None:
    reader = AnswerReader(in_events=in_events)
    assert not reader.feed(beginning + b" " * (LIMIT_BYTES - 100))
    assert reader.feed(b" " * 200)
    assert reader.message is None


def test_a_body_is_kept_for_whoever_passes_it_on() -> None:
    reader = AnswerReader(in_events=False)
    for piece in (b"<p>no", b" entry</p>"):
        reader.feed(piece)
    assert reader.body == b"<p>no entry</p>"
