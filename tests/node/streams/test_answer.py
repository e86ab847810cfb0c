"""What an app streams is heard as it was said, under ids of ours, in whatever pieces it comes."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.sse import SseBareBlock, SseComment, SseEvent, SsePart, encode
from mooring.core.stream_ids import BEGINNING, Place, StreamFacts, StreamIds, StreamKind
from mooring.core.stream_log import LoggedEvent
from mooring.node.streams.answer import NOTHING, StreamedAnswer, answers
from mooring.node.streams.stream import Stream
from tests.node.streams.listening import Connection

RETRY = 2000


def a_stream(request_id: Any = 5) -> Stream:
    facts = StreamFacts(StreamKind.CALL, 0, request_id)
    stream_id = StreamIds(b"key").mint("a session", facts, bytes(6))
    return Stream(stream_id, facts, 1, 100_000, lambda stream, event: None)


def message(**said: Any) -> str:
    return json.dumps({"jsonrpc": "2.0"} | said)


def progress(told: Any) -> str:
    return message(method="notifications/progress", params={"progressToken": "p", "progress": told})


async def heard(stream: Stream, *parts: SsePart, incarnation: int = 0) -> list[SseEvent]:
    connection = Connection()
    answer = StreamedAnswer(stream, "2025-11-25", RETRY, incarnation)
    await stream.listen(connection.listener, None)
    for part in parts:
        await answer.feed(encode(part))
    return connection.events()


@pytest.mark.parametrize(
    ("protocol", "first"),
    [
        ("2025-11-25", SseEvent("", "", None, RETRY)),
        ("2026-07-28", SseEvent("", "", None, RETRY)),
        ("2025-06-18", SseEvent(NOTHING, "message", None, RETRY)),
        ("", SseEvent(NOTHING, "message", None, RETRY)),
    ],
)
async def test_the_first_thing_gives_an_id_to_clients_of_each_revision(protocol: str, first: SseEvent) -> None:
    stream, connection = a_stream(), Connection()
    await stream.listen(connection.listener, None)
    await StreamedAnswer(stream, protocol, RETRY, 0).begin()
    [event] = connection.events()
    assert event.id == f"{stream.id}.1.1"
    assert (event.data, event.event, event.retry_milliseconds) == (first.data, first.event, RETRY)
    assert not stream.is_answered


async def test_ids_and_priming_events_of_the_apps_are_its_own() -> None:
    stream, connection = a_stream(), Connection()
    answer = StreamedAnswer(stream, "2025-11-25", RETRY, 0)
    await stream.listen(connection.listener, None)
    for part in (
        SseEvent("", "", "own-1", 7),
        SseBareBlock(id="own-2"),
        SseComment("ping"),
        SseEvent("a", "", "own-3"),
    ):
        await answer.feed(encode(part))
    assert answer.last_inner_id == "own-3"
    assert [(event.data, event.id) for event in connection.events()] == [("a", f"{stream.id}.1.1")]
    assert connection.received.startswith(b": ping\n")
    assert answer.retry_milliseconds == 7


@pytest.mark.parametrize(("retry", "is_passed_on"), [(200, False), (RETRY, True), (60_000, True)])
async def test_an_app_makes_no_client_give_up_sooner_than_we_would_have_it(retry: int, is_passed_on: bool) -> None:
    """It tries twice, each after that wait: less than it takes a load balancer to start again."""
    parts = (
        SseEvent("", "", "own-1", retry),
        SseEvent("a", "", "own-2", retry),
        SseBareBlock(retry_milliseconds=retry),
    )
    connection = Connection()
    answer, stream = None, a_stream()
    answer = StreamedAnswer(stream, "2025-11-25", RETRY, 0)
    await stream.listen(connection.listener, None)
    for part in parts:
        await answer.feed(encode(part))
    assert connection.received.count(b"retry: %d\n" % retry) == (3 if is_passed_on else 0)
    assert answer.retry_milliseconds == retry


@pytest.mark.parametrize(
    ("request_id", "said", "is_answer"),
    [
        (5, message(id=5, result={}), True),
        (5, message(id=5, error={"code": 1, "message": "no"}), True),
        (5, message(id=6, result={}), False),
        (5, message(id=5, method="elicitation/create", params={"result": {}}), False),
        ("5", message(id=5, result={}), False),
        (5.5, message(id=5.5, result={}), True),
        (None, message(id="x" * 500, result={}), True),
        (None, progress("result"), False),
        (5, '{"result"', False),
    ],
)
async def test_an_answer_is_told_from_the_rest(request_id: Any, said: str, is_answer: bool) -> None:
    stream = a_stream(request_id)
    assert answers(said, request_id) is is_answer
    assert [event.data for event in await heard(stream, SseEvent(said))] == [said]
    assert stream.is_answered is is_answer


async def test_questions_are_named_from_the_second_incarnation_on() -> None:
    question = message(id=7, method="elicitation/create", params={})
    assert [event.data for event in await heard(a_stream(), SseEvent(question))] == [question]
    [named] = await heard(a_stream(), SseEvent(question), incarnation=3)
    assert json.loads(named.data) == json.loads(question) | {"id": "mooring:3:7"}


@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
async def test_where_a_request_is_carried_out_again_no_step_is_told_twice(slash: str) -> None:
    def step(told: Any) -> str:
        return progress(told).replace("/", slash)

    stream = a_stream()
    for number, said in enumerate([step(1), step(2)], 1):
        stream.log.restore(LoggedEvent(Place(1, number), encode(SseEvent(said))))
    stream.log.skip_to(Place(1, 3))  # a third was heard of, and is on no record
    stream.epoch = 2
    connection = Connection()
    await stream.listen(connection.listener, Place(1, 3))
    answer = StreamedAnswer(stream, "2025-11-25", RETRY, 1)
    answer.skip_what_was_told()
    end = message(id=5, result={})
    other = message(method="notifications/message", params={"progress": 1})
    for said in (step(1), step(2), step(3), other, step(4), step(10**400), end):
        await answer.feed(encode(SseEvent(said)))
    assert [event.data for event in connection.events()] == [other, step(4), step(10**400), end]


texts = st.text(st.characters(exclude_characters="\r\n\0", codec="utf-8"), max_size=12)
said_by_apps = st.lists(
    st.one_of(
        st.builds(SseEvent, texts, texts, st.one_of(st.none(), texts), st.one_of(st.none(), st.integers(0, 9))),
        st.builds(SseComment, texts),
        st.builds(SseBareBlock, st.just("name"), st.one_of(st.none(), texts)),
    ),
    max_size=12,
)


async def _carry_out(parts: list[SsePart], cuts: list[int]) -> None:
    stream, connection = a_stream(), Connection()
    await stream.listen(connection.listener, BEGINNING)
    answer = StreamedAnswer(stream, "2025-11-25", RETRY, 1)
    raw = b"".join(encode(part) for part in parts)
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        await answer.feed(raw[start:end])
    events = [part for part in parts if isinstance(part, SseEvent) and part.data]
    assert [(event.data, event.event) for event in connection.events()] == [(one.data, one.event) for one in events]
    assert [event.id for event in connection.events()] == [f"{stream.id}.1.{n + 1}" for n in range(len(events))]


@given(said_by_apps, st.lists(st.integers(0, 10_000), max_size=10))
@settings(deadline=None)
def test_in_whatever_pieces_it_comes_it_is_heard_whole_and_in_order(parts: list[SsePart], cuts: list[int]) -> None:
    asyncio.run(_carry_out(parts, cuts))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_what_stands_in_the_place_of_the_answer_may_have_lines(line_end: str) -> None:
    async def stands(_: str) -> str:
        return json.dumps({"jsonrpc": "2.0", "id": 5, "result": "stands"}, indent=1).replace("\n", line_end)

    stream, connection = a_stream(), Connection()
    await stream.listen(connection.listener, None)
    answer = StreamedAnswer(stream, "2025-11-25", RETRY, 0, stands)
    await answer.feed(encode(SseEvent(message(id=5, result={}), "message")))
    [said] = connection.events()
    assert json.loads(said.data)["result"] == "stands"
