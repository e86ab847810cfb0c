from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.asgi import HeaderList, Message
from mooring.node.passing import PassingAnswer

SSE: HeaderList = [(b"Content-Type", b"text/event-stream; charset=utf-8")]
LAST = b"event: message\ndata: the end\n\n"


async def ended(headers: HeaderList, pieces: list[bytes], *, whole: bool = False) -> list[Message]:
    """What the client gets after the answer's pieces, when it is ended in the app's place."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    answer = PassingAnswer()
    await answer.pass_on({"type": "http.response.start", "status": 200, "headers": headers}, send)
    for piece in pieces:
        await answer.pass_on({"type": "http.response.body", "body": piece, "more_body": True}, send)
    if whole:
        await answer.pass_on({"type": "http.response.body", "body": b"", "more_body": False}, send)
    passed = len(sent)
    await answer.end(send, LAST)
    return sent[passed:]


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"data: 1\n\n"],
        [b"data: 1\r\n\r\n"],
        [b"data: 1\r\r"],
        [b"data: 1", b"\n", b"\n"],
        [b"data: 1\r", b"\n\r", b"\n"],
        [b"data: 1\n\n", b""],
    ],
)
async def test_a_stream_is_ended_between_two_events(pieces: list[bytes]) -> None:
    assert await ended(SSE, pieces) == [{"type": "http.response.body", "body": LAST, "more_body": False}]


@pytest.mark.parametrize(
    "pieces", [[b"data: 1"], [b"data: 1\n"], [b"data: 1\n\nd"], [b"data: 1\r\n"], [b"\n\n", b": x"]]
)
async def test_it_is_broken_off_within_one(pieces: list[bytes]) -> None:
    assert await ended(SSE, pieces) == []


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"application/json")],
        [*SSE, (b"content-length", b"100")],
        [*SSE, (b"Content-Encoding", b"gzip")],
    ],
)
async def test_nothing_is_added_to_what_cannot_be_ended(headers: HeaderList) -> None:
    assert await ended(headers, [b"data: 1\n\n"]) == []


async def test_nothing_is_added_to_a_whole_answer() -> None:
    assert await ended(SSE, [b"data: 1\n\n"], whole=True) == []


async def test_nothing_is_added_while_nobody_knows_how_much_has_left() -> None:
    async def breaks(message: Message) -> None:
        if message["type"] == "http.response.body" and message["body"]:
            raise ConnectionError

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    answer = PassingAnswer()
    await answer.pass_on({"type": "http.response.start", "status": 200, "headers": SSE}, send)
    with pytest.raises(ConnectionError):
        await answer.pass_on({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}, breaks)
    await answer.end(send, LAST)
    assert len(sent) == 1


@given(
    st.lists(
        st.binary(max_size=4).map(lambda piece: piece.translate(bytes(b"\n\rx\n\r\n\nx"[n % 8] for n in range(256))))
    )
)
async def test_how_a_stream_is_cut_into_pieces_does_not_matter(pieces: list[bytes]) -> None:
    assert await ended(SSE, pieces) == await ended(SSE, [b"".join(pieces)])
