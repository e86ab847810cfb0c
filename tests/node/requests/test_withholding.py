"""An answer is held until its call's changes are on record, in every shape that an app may give it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mooring.asgi import Message
from mooring.core.sse import SseParser
from mooring.node.requests.withholding import HeldAnswer

ANSWER = json.dumps({"jsonrpc": "2.0", "id": 7, "result": {}})
PROGRESS = b'event: message\ndata: {"jsonrpc": "2.0", "method": "notifications/progress"}\n\n'
JSON = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
STREAM = [(b"content-type", b"text/event-stream")]
ZIPPED = [*STREAM, (b"content-encoding", b"gzip")]


class Held:
    """One, with a commit that says what it is told to, and what has left."""

    def __init__(self, said: str | None = "same", *, is_used: bool = True) -> None:
        self.said = said
        self.is_used = is_used
        self.committed: list[str] = []
        self.so_far = 0
        self.left: list[Message] = []
        self._held = HeldAnswer(self._commit, self._so_far, lambda: self.is_used)

    async def _commit(self, answer: str) -> str | None:
        assert self.body == b"" or b"result" not in self.body, "it has left before"
        self.committed.append(answer)
        return answer if self.said == "same" else self.said

    async def _so_far(self) -> bool:
        self.so_far += 1
        return self.said == "same"

    async def start(self, headers: Any) -> None:
        await self.send({"type": "http.response.start", "status": 202, "headers": headers})

    async def piece(self, body: bytes, more: bool = False) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    async def send(self, message: Message) -> None:
        self.left += await self._held.pass_on(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.left)


def event(text: str) -> bytes:
    return b"event: message\ndata: %b\n\n" % text.encode()


async def test_json_leaves_whole_once_it_is_committed() -> None:
    held = Held()
    await held.start(JSON)
    await held.piece(ANSWER[:9].encode(), more=True)
    assert held.left == []
    await held.piece(ANSWER[9:].encode())
    assert held.committed == [ANSWER]
    assert (held.left[0]["status"], held.body) == (202, ANSWER.encode())


async def test_an_error_in_its_place_has_the_length_and_the_status_of_one() -> None:
    held = Held("an error")
    await held.start(JSON)
    await held.piece(ANSWER.encode())
    assert held.left[0]["status"] == 200
    assert (b"content-length", b"8") in held.left[0]["headers"]
    assert held.body == b"an error"


async def test_an_error_in_place_of_an_event_is_not_as_long_as_that_was() -> None:
    held = Held("an error")
    await held.start([*STREAM, (b"Content-Length", b"%d" % len(event(ANSWER)))])
    await held.piece(event(ANSWER))
    assert held.left[0]["headers"] == STREAM
    assert held.body == event("an error")


@pytest.mark.parametrize("headers", [JSON, STREAM])
async def test_where_nothing_may_leave_nothing_does(headers: Any) -> None:
    held = Held(None)
    await held.start(headers)
    await held.piece(ANSWER.encode() if headers is JSON else event(ANSWER), more=True)
    await held.piece(b"")
    assert b"result" not in held.body


async def test_a_call_that_asked_for_nothing_is_passed_on_as_it_comes() -> None:
    held = Held(is_used=False)
    await held.start(JSON)
    await held.piece(b"[", more=True)
    assert held.body == b"["
    await held.piece(b"]")
    assert (held.body, held.committed) == (b"[]", [])


async def test_one_that_asks_after_its_answer_began_has_no_end_where_it_is_not_kept() -> None:
    held = Held(None, is_used=False)
    await held.start(JSON)
    await held.piece(b"[", more=True)
    held.is_used = True
    await held.piece(b"]")
    assert held.body == b"["


async def test_in_a_stream_what_comes_before_the_answer_leaves_at_once() -> None:
    held = Held()
    await held.start(STREAM)
    await held.piece(PROGRESS, more=True)
    assert held.body == PROGRESS
    await held.piece(event(ANSWER), more=True)
    assert [json.loads(answer) for answer in held.committed] == [json.loads(ANSWER)]
    await held.piece(b": the rest")
    assert held.body == PROGRESS + event(ANSWER) + b": the rest"


@pytest.mark.parametrize("size", [1, 20, 40])
async def test_in_a_stream_an_answer_in_pieces_leaves_whole_once_it_is_committed(size: int) -> None:
    held = Held()
    await held.start(STREAM)
    data = PROGRESS + event(ANSWER) + PROGRESS
    for at in range(0, len(data), size):
        await held.piece(data[at : at + size], more=True)
    assert len(held.committed) == 1
    assert held.body == data


async def test_in_a_stream_an_error_in_place_of_an_answer_in_pieces_is_an_event_of_its_own() -> None:
    held = Held("an error")
    await held.start(STREAM)
    await held.piece(event(ANSWER)[:30], more=True)
    await held.piece(event(ANSWER)[30:], more=True)
    assert held.body == event("an error")


async def test_what_is_no_whole_event_at_the_end_of_a_stream_leaves_as_it_is() -> None:
    held = Held()
    await held.start(STREAM)
    await held.piece(event(ANSWER)[:9], more=True)
    await held.piece(b"")
    assert held.body == event(ANSWER)[:9]


async def test_an_error_in_place_of_an_event_ends_the_stream() -> None:
    held = Held("an error")
    await held.start(STREAM)
    await held.piece(event(ANSWER), more=True)
    await held.piece(event(ANSWER))
    assert b"data: an error" in held.body
    assert not held.left[-1]["more_body"]


async def test_a_stream_that_cannot_be_read_is_committed_before_each_piece() -> None:
    held = Held()
    await held.start(ZIPPED)
    await held.piece(b"1", more=True)
    await held.piece(b"2", more=True)
    await held.piece(b"")
    assert (held.so_far, held.committed, held.body) == (2, [""], b"12")
    held.said = None
    refused = Held(None)
    await refused.start(ZIPPED)
    await refused.piece(b"1", more=True)
    assert (refused.body, refused.left[-1]["more_body"]) == (b"", False)


async def test_what_is_no_body_leaves_as_it_is() -> None:
    held = Held()
    await held.start([(b"content-type", b"text/plain")])
    await held.send({"type": "http.response.trailers", "headers": []})
    assert [message["type"] for message in held.left] == ["http.response.start", "http.response.trailers"]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_what_stands_in_its_place_may_have_lines(line_end: str) -> None:
    """It was answered in JSON before, which was written so."""
    held = Held(json.dumps({"jsonrpc": "2.0", "id": 7, "result": "stands"}, indent=1).replace("\n", line_end))
    await held.start(STREAM)
    await held.piece(event(ANSWER), more=True)
    [said] = SseParser().feed(held.body)
    assert json.loads(said.data)["result"] == "stands"
