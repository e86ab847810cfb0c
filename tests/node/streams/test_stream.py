"""Whatever is cut and whoever comes back: what the app says is heard once and in order, or is said to be lost."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.asgi import Message
from mooring.core.sse import SseBareBlock, SseComment, SseEvent
from mooring.core.stream_ids import Place, StreamFacts, StreamIds, StreamKind
from mooring.node.passing import PassingAnswer
from mooring.node.streams.answer import StreamedAnswer
from mooring.node.streams.listener import Listener
from mooring.node.streams.stream import GAP, Stream
from tests.node.streams.listening import Client, Connection
from tests.waiting import until

FACTS = StreamFacts(StreamKind.CALL, 0, 5)
STREAM_ID = StreamIds(b"key").mint("a session", FACTS, bytes(6))


def a_stream(most_bytes: int = 100_000, epoch: int = 1) -> Stream:
    return Stream(STREAM_ID, FACTS, epoch, most_bytes, lambda stream, event: None)


async def say(stream: Stream, *texts: str) -> None:
    for text in texts:
        await stream.say(SseEvent(text, "message"))


ANSWER = json.dumps({"jsonrpc": "2.0", "id": 5, "result": {}})


async def test_what_is_said_before_anybody_listens_is_heard() -> None:
    stream = a_stream()
    await say(stream, "a", "b")
    client = Client(stream)
    await client.connect(Connection())
    await say(stream, "c")
    client.give_up()
    assert client.texts() == ["a", "b", "c"]


async def test_one_who_cannot_know_where_it_is_gets_what_nobody_has_heard() -> None:
    stream = a_stream()
    first = Connection()
    await stream.listen(first.listener, None)
    await say(stream, "a")
    first.listener.leave()
    await say(stream, "b")
    second = Connection(5)
    await stream.listen(second.listener, None)
    third = Connection()
    await stream.listen(third.listener, None)
    assert [event.data for event in third.events()] == ["b"]


@pytest.mark.parametrize("is_over", [False, True])
async def test_one_who_has_heard_all_is_told_where_that_is_while_more_may_come(is_over: bool) -> None:
    stream = a_stream()
    await say(stream, "a")
    if is_over:
        await stream.end()
    again = Connection()
    await stream.listen(again.listener, Place(1, 1), SseEvent("", "message"))
    places = [] if is_over else [f"{STREAM_ID}.1.1"]
    assert [event.id for event in again.events()] == places
    missed = Connection()
    await stream.listen(missed.listener, Place(1, 0), SseEvent("", "message"))
    assert [event.data for event in missed.events()] == ["a"]


async def test_what_whoever_comes_back_has_heard_is_not_said_again_to_one_who_cannot_know() -> None:
    """Also where that was heard of a node that is gone."""
    stream = a_stream()
    await say(stream, "a", "b", "c")
    first = Connection()
    await stream.listen(first.listener, Place(1, 3))
    assert first.events() == []
    second = Connection()
    await stream.listen(second.listener, None)
    await say(stream, "d")
    assert [event.data for event in second.events()] == ["d"]


async def test_comments_and_waits_are_for_whoever_listens_now() -> None:
    stream = a_stream()
    await stream.say(SseComment("nobody"))
    connection = Connection()
    await stream.listen(connection.listener, None)
    await stream.say(SseComment("ping"))
    await stream.say(SseBareBlock(retry_milliseconds=7))
    assert connection.received == b": ping\n\nretry: 7\n\n"
    assert stream.log.everything() == []


async def test_what_is_gone_is_said() -> None:
    stream = a_stream(most_bytes=400)
    client = Client(stream)
    await client.connect(Connection())
    await say(stream, "a")
    client.give_up()
    await say(stream, *("x" * 100 for _ in range(10)))
    await client.connect(Connection())
    assert client.connection is not None
    assert GAP.encode() in client.connection.received
    client.give_up()
    assert 1 < len(client.events) < 10


async def test_an_answer_that_is_larger_than_the_log_is_delivered_once_or_said_to_be_lost() -> None:
    stream = a_stream(most_bytes=400)
    there, away = Client(stream), Client(stream)
    await there.connect(Connection())
    await say(stream, "a")
    away.events = there.connection.events() if there.connection else []
    large = json.dumps({"jsonrpc": "2.0", "id": 5, "result": "x" * 1000})
    await stream.say(SseEvent(large, "message"), is_answer=True)
    await stream.end()
    there.give_up()
    assert there.texts() == ["a", large]
    await there.connect(Connection())
    there.give_up()
    assert there.texts() == ["a", large]
    for _ in range(2):
        await away.connect(Connection())
        away.give_up()
    [_, told] = away.texts()
    error = json.loads(told)
    assert error["id"] == 5
    assert error["error"]["data"] == {"reason": "answer_lost"}


async def test_one_that_comes_during_the_last_words_hears_them() -> None:
    stream = a_stream()
    old, new = Connection(), Connection()
    await stream.listen(old.listener, None)
    await say(stream, "a")
    saying = asyncio.create_task(say(stream, ANSWER))
    await asyncio.sleep(0)
    ending = asyncio.create_task(stream.end())
    await asyncio.gather(saying, stream.listen(new.listener, Place(1, 1)), ending)
    assert [event.data for event in new.events()] == [ANSWER]
    assert new.is_ended


async def test_of_two_that_come_at_once_one_listens_and_the_other_is_let_go() -> None:
    stream = a_stream()
    await say(stream, "a")
    both = [Connection(), Connection()]
    await asyncio.gather(*(stream.listen(connection.listener, None) for connection in both))
    await say(stream, "b")
    [gone] = [connection for connection in both if connection.listener.is_gone]
    [there] = [connection for connection in both if not connection.listener.is_gone]
    assert gone.listener.gone.is_set()
    assert [event.data for event in there.events()] == ["a", "b"]


async def test_one_that_stalls_makes_way_whether_it_is_told_of_old_or_new() -> None:
    stream = a_stream()
    await say(stream, "a")
    stalled = [Connection(), Connection()]
    tasks = []
    for connection in stalled:
        connection.stalls = True
        tasks.append(asyncio.create_task(stream.listen(connection.listener, None)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    there = Connection()
    await asyncio.wait_for(stream.listen(there.listener, None), 5)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert all(connection.listener.is_gone for connection in stalled)
    assert [event.data for event in there.events()] == ["a"]
    there.stalls = True
    saying = asyncio.create_task(say(stream, "b"))
    await asyncio.sleep(0)
    last = Connection()
    await asyncio.wait_for(stream.listen(last.listener, Place(1, 1)), 5)
    await asyncio.wait_for(saying, 5)
    assert [event.data for event in last.events()] == ["b"]


async def test_an_app_waits_for_a_client_that_reads_slowly() -> None:
    stream = a_stream()
    slow = Connection()
    await stream.listen(slow.listener, None)
    slow.stalls = True
    saying = asyncio.create_task(say(stream, "a", "b"))

    async def has_said_one() -> bool:
        return stream.log.last == Place(1, 1)

    await until(has_said_one, what="the first event")
    assert not saying.done()
    slow.listener.leave()
    await asyncio.wait_for(saying, 5)
    assert stream.log.last == Place(1, 2)


async def test_who_is_dismissed_may_come_back() -> None:
    stream = a_stream()
    client = Client(stream)
    connection = Connection()
    await client.connect(connection)
    await stream.dismiss()
    assert connection.is_ended
    assert not stream.has_listener
    await say(stream, "a")
    await client.connect(Connection())
    client.give_up()
    assert client.texts() == ["a"]


connections = st.tuples(st.one_of(st.none(), st.integers(0, 400)), st.booleans())
steps = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=20)),
        st.tuples(st.just("connect"), connections),
        st.tuples(st.just("turns"), st.integers(1, 6)),
        st.tuples(st.just("epoch"), st.integers(0, 2)),
    ),
    max_size=25,
)


async def _carry_out(plan: list[tuple[str, Any]]) -> None:
    stream, said = a_stream(), [""]
    client = Client(stream)
    await stream.say(SseEvent(""))  # what primes a client
    await client.connect(Connection())
    work: list[asyncio.Task[None]] = []
    telling = asyncio.Lock()

    async def tell(text: str) -> None:
        async with telling:  # an app says one thing after the other
            await say(stream, text)

    for what, how in plan:
        if what == "say":
            said.append(how)
            work.append(asyncio.create_task(tell(how)))
        elif what == "connect":
            work.append(asyncio.create_task(client.connect(Connection(how[0], is_silent=how[1]))))
        elif what == "epoch":
            stream.epoch += how
        else:
            for _ in range(how):
                await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*work), 10)
    ending = asyncio.create_task(stream.end())
    last = Connection()
    await asyncio.wait_for(client.connect(last), 10)
    await ending
    client.give_up()
    assert client.texts() == said
    assert last.is_ended


@given(steps)
@settings(max_examples=300, deadline=None)
def test_any_cut_and_any_resume_gives_every_event_once_and_in_order(plan: list[tuple[str, Any]]) -> None:
    asyncio.run(_carry_out(plan))


@pytest.mark.parametrize("after", [Place(1, 10**15), Place(0, 3)])
async def test_a_place_that_never_was_harms_nobody(after: Place) -> None:
    stream = a_stream()
    await say(stream, "a")
    liar = Connection()
    await stream.listen(liar.listener, after)
    honest = Connection()
    await stream.listen(honest.listener, Place(1, 0))
    assert [event.data for event in honest.events()] == ["a"]


async def test_a_batch_of_very_many_is_answered_one_by_one_in_no_time() -> None:
    ids = tuple(range(10_000))
    stream = Stream(STREAM_ID, StreamFacts(StreamKind.CALL, 0, ids), 1, 100_000, lambda stream, event: None)
    answer = StreamedAnswer(stream, "2025-03-26", 1000, 0)
    began = time.process_time()
    for one in ids[:5_000]:
        said = json.dumps({"jsonrpc": "2.0", "id": one, "result": {}})
        await answer.feed(f"data: {said}\n\n".encode())
    assert time.process_time() - began < 1.5
    assert stream.unanswered == ids[5_000:]


async def test_nobody_waits_to_dismiss_one_that_takes_nothing() -> None:
    """A node that ends, or gives its session away, would wait for half a minute, and so would what is asked of it."""
    stream = a_stream()
    connection = Connection()
    await stream.listen(connection.listener, None)
    connection.stalls = True
    saying = asyncio.create_task(say(stream, "a"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.dismiss()
        await saying
    assert connection.listener.is_gone
    assert not stream.has_listener
    another = Connection()
    await stream.listen(another.listener, None)
    assert [event.data for event in another.events()] == ["a"]


async def test_nobody_waits_to_dismiss_one_that_takes_its_time_with_what_it_missed() -> None:
    stream = a_stream()
    await say(stream, *(str(number) for number in range(500)))

    async def send(message: Message) -> None:
        await asyncio.sleep(0.05)

    listener = Listener(PassingAnswer(), send)
    listening = asyncio.create_task(stream.listen(listener, Place(0, 0)))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await stream.dismiss()
        await listening
    assert listener.is_gone
