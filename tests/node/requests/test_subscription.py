"""A stream of changes that ends whole, whenever its node ends it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mooring.asgi import Message
from mooring.core.sse import SseEvent, SseParser
from mooring.node.requests.subscription import Subscription

EVENT = b'event: message\r\ndata: {"method":"notifications/tools/list_changed"}\r\n\r\n'
RESULT = {"resultType": "complete", "_meta": {"io.modelcontextprotocol/subscriptionId": 7}}


class Stream:
    """One, and what its client got."""

    def __init__(self, kind: bytes = b"text/event-stream", *more: tuple[bytes, bytes]) -> None:
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self.subscription = Subscription(7, self._receive, self._send)
        self._start: Message = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", kind), *more],
        }

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def _receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def begin(self) -> None:
        await self.subscription.send(self._start)

    async def say(self, body: bytes, *, more: bool = True) -> None:
        await self.subscription.send({"type": "http.response.body", "body": body, "more_body": more})

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_over(self) -> bool:
        return self.sent[-1].get("more_body", True) is False

    def last(self) -> Any:
        *_, event = SseParser().read(self.body)
        assert isinstance(event, SseEvent)
        return json.loads(event.data)


async def test_nothing_is_put_into_a_stream_that_the_app_has_compressed() -> None:
    stream = Stream(b"text/event-stream", (b"content-encoding", b"gzip"))
    await stream.begin()
    await stream.say(b"compressed\n\n")
    await stream.subscription.end()
    assert stream.body == b"compressed\n\n"
    assert not stream.is_over


async def test_between_events_it_ends_at_once_and_the_app_hears_that_its_client_left() -> None:
    stream = Stream()
    await stream.begin()
    await stream.say(EVENT)
    hearing = asyncio.create_task(stream.subscription.receive())
    await asyncio.sleep(0)
    await stream.subscription.end()
    assert stream.is_over
    assert stream.last() == {"jsonrpc": "2.0", "id": 7, "result": RESULT}
    assert stream.body.startswith(EVENT)
    assert (await hearing)["type"] == "http.disconnect"
    assert (await stream.subscription.receive())["type"] == "http.disconnect"
    count = len(stream.sent)
    await stream.say(EVENT)
    await stream.say(b"", more=False)
    await stream.subscription.end()
    assert len(stream.sent) == count


@given(st.lists(st.integers(1, 20), max_size=8), st.integers(0, 10))
async def test_however_events_are_cut_it_ends_after_a_whole_one(cuts: list[int], when: int) -> None:
    stream = Stream()
    await stream.begin()
    rest = EVENT * 3
    pieces = []
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    for number, piece in enumerate([*pieces, rest]):
        if number == when:
            await stream.subscription.end()
        await stream.say(piece)
    await stream.subscription.end()
    assert stream.is_over
    events = SseParser().read(stream.body)
    assert stream.last()["result"] == RESULT
    said = [json.loads(event.data) for event in events[:-1] if isinstance(event, SseEvent)]
    assert said == [{"method": "notifications/tools/list_changed"}] * len(said)
    assert len(said) == len(events) - 1


async def test_one_that_did_not_begin_ends_with_its_first_event() -> None:
    stream = Stream()
    await stream.subscription.end()
    assert stream.sent == []
    await stream.begin()
    await stream.say(EVENT)
    assert stream.is_over
    assert stream.body.startswith(EVENT)


async def test_an_answer_that_is_no_stream_is_the_apps() -> None:
    stream = Stream(b"application/json")
    await stream.begin()
    await stream.say(b'{"error": {}}')
    await stream.subscription.end()
    assert not stream.is_over
    await stream.say(b"", more=False)
    assert stream.body == b'{"error": {}}'


async def test_the_client_may_leave_and_the_app_may_end_it_by_itself() -> None:
    stream = Stream()
    await stream.begin()
    stream.left.set()
    assert (await stream.subscription.receive())["type"] == "http.disconnect"
    await stream.say(EVENT, more=False)
    await stream.subscription.end()
    assert stream.body == EVENT


async def test_what_is_heard_of_the_client_is_let_go_with_the_app() -> None:
    stream = Stream()
    hearing = asyncio.create_task(stream.subscription.receive())
    await asyncio.sleep(0)
    hearing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hearing
