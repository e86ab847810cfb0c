"""What is kept of streams is within bounds: of each, of its session, of the node."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.asgi import Message
from mooring.core.sse import SseEvent
from mooring.core.stream_ids import BEGINNING, Place, StreamFacts, StreamIds, StreamKind
from mooring.node.passing import PassingAnswer
from mooring.node.streams.listener import Listener
from mooring.node.streams.memory import StreamMemory
from mooring.node.streams.stream import Stream
from tests.fakes import Clock

KIB = 1024
FACTS = StreamFacts(StreamKind.CALL, 0, 1)


class Client:
    async def send(self, message: Message) -> None:
        """It takes all."""


async def answered(memory: StreamMemory, session_id: str = "one", text: str = "said") -> Stream:
    """A stream on which one thing was said, and that is over."""
    stream = memory.open(session_id, FACTS, 1)
    await stream.say(SseEvent(text))
    await stream.end()
    memory.is_over(session_id, stream)
    return stream


def a_memory(most_bytes: int = 64 * KIB, room_bytes: int = 1024 * KIB) -> tuple[StreamMemory, Clock]:
    clock = Clock()
    return StreamMemory(StreamIds(b"key"), most_bytes, room_bytes, 300, now=clock), clock


async def test_a_stream_that_is_kept_holds_nothing_of_a_client_that_heard_it() -> None:
    memory, _ = a_memory()
    client = Client()
    stream = memory.open("one", FACTS, 1)
    await stream.listen(Listener(PassingAnswer(), client.send), None)
    await stream.say(SseEvent("said"))
    await stream.end()
    held = weakref.ref(client)
    del client
    gc.collect()
    assert held() is None
    assert memory.find("one", stream.id) is stream


async def test_many_streams_that_say_next_to_nothing_are_within_the_room_of_the_node() -> None:
    memory, _ = a_memory(room_bytes=64 * KIB)
    for number in range(200):
        await answered(memory, f"session {number}")
    assert 10 < len(memory) < 40
    assert memory.size <= 64 * KIB
    assert list(memory.of("session 199"))
    assert not list(memory.of("session 0"))


async def test_and_within_that_of_their_session() -> None:
    memory, _ = a_memory(most_bytes=16 * KIB)
    other = await answered(memory, "another")
    for _ in range(200):
        last = await answered(memory)
    assert 10 < len(list(memory.of("one"))) < 40
    assert memory.find("one", last.id) is last
    assert memory.find("another", other.id) is other


async def test_all_is_free_again_once_the_session_is_gone() -> None:
    memory, _ = a_memory()
    for _ in range(3):
        await answered(memory)
    assert memory.size > 0
    memory.forget("one")
    assert (len(memory), memory.size) == (0, 0)


async def test_what_is_over_is_kept_for_a_while() -> None:
    memory, clock = a_memory()
    first = await answered(memory)
    clock.now += 200
    second = await answered(memory)
    clock.now += 101
    await answered(memory)
    assert memory.find("one", first.id) is None
    assert memory.find("one", second.id) is second
    assert memory.open_streams == 0


async def test_what_goes_on_is_bounded_too_and_the_rest_is_heard() -> None:
    memory, _ = a_memory(most_bytes=16 * KIB, room_bytes=40 * KIB)
    going_on = [memory.open(f"session {n}", FACTS, 1) for n in range(4)]
    for _ in range(10):
        for stream in going_on:
            await stream.say(SseEvent("x" * 3 * KIB))
            assert memory.size <= 40 * KIB
    assert memory.open_streams == 4
    assert all(stream.log.last == Place(1, 10) for stream in going_on)


async def test_one_session_takes_no_room_from_others_though_all_its_calls_go_on() -> None:
    memory, _ = a_memory(most_bytes=16 * KIB)
    other = memory.open("another", FACTS, 1)
    await other.say(SseEvent("x" * 10 * KIB))
    for _ in range(20):
        await memory.open("one", FACTS, 1).say(SseEvent("x" * 10 * KIB))
    held = sum(stream.log.size for stream in memory.of("one"))
    assert held <= 4 * 16 * KIB
    assert other.log.holds_all_after(BEGINNING)


async def test_the_streams_of_a_session_that_rests_are_kept_for_a_while_and_may_go_on() -> None:
    memory, clock = a_memory()
    standing = [memory.open(name, StreamFacts(StreamKind.STANDING, 0), 1) for name in ("one", "two")]
    for name in ("one", "two"):
        memory.rest(name)
    memory.wake(standing[0])
    clock.now += 301
    await answered(memory, "three")
    assert memory.find("one", standing[0].id) is standing[0]
    assert memory.find("two", standing[1].id) is None
    assert memory.standing() == [standing[0]]


async def test_what_is_dropped_may_be_said_on_and_counts_for_nothing() -> None:
    memory, _ = a_memory()
    stream = memory.open("one", FACTS, 1)
    memory.drop("one", stream)
    memory.drop("one", stream)
    await stream.say(SseEvent("said"))
    await stream.end()
    memory.is_over("one", stream)
    assert (len(memory), memory.size, memory.find("one", stream.id)) == (0, 0, None)


actions = st.lists(
    st.tuples(
        st.sampled_from(["open", "say", "end", "rest", "wake", "forget", "later"]), st.integers(0, 5), st.integers(0, 9)
    ),
    max_size=60,
)


async def _carry_out(plan: list[tuple[str, int, int]]) -> None:
    memory, clock = a_memory(most_bytes=8 * KIB, room_bytes=30 * KIB)
    streams: list[tuple[str, Stream]] = []
    for what, which, how in plan:
        session, stream = streams[which % len(streams)] if streams else ("", None)
        if what == "open":
            streams.insert(0, (f"session {which % 3}", memory.open(f"session {which % 3}", FACTS, 1)))
        elif what == "later":
            clock.now += how * 50
        elif stream is None:
            continue
        elif what == "say":
            await stream.say(SseEvent("x" * how * KIB))
        elif what == "end" and not stream.is_over:
            await stream.end()
            memory.is_over(session, stream)
        elif what == "wake" and not stream.is_over:
            memory.wake(stream)
        elif what in ("rest", "forget"):
            getattr(memory, what)(session)
        kept = [one for name in {name for name, _ in streams} for one in memory.of(name)]
        assert len(memory) == len(kept)
        assert memory.size == sum(2_048 + one.log.size for one in kept)
        assert sum(one.log.size for one in kept) <= 30 * KIB
    for session, _ in streams:
        memory.forget(session)
    assert (len(memory), memory.size, memory.open_streams) == (0, 0, 0)


@given(actions)
@settings(deadline=None)
def test_what_is_counted_is_what_is_held_and_within_its_bounds(plan: list[tuple[str, int, int]]) -> None:
    asyncio.run(_carry_out(plan))


async def test_thousands_of_open_streams_in_a_session_hold_up_nothing() -> None:
    """A client that leaves does not end what it asked: so it may have as many as it likes."""
    memory, _ = a_memory(room_bytes=64 * 1024 * KIB)
    streams = [memory.open("one", FACTS, 1) for _ in range(8_000)]
    began = time.process_time()
    for stream in streams[:1_000]:
        await stream.say(SseEvent("said"))
    assert time.process_time() - began < 0.3
    assert memory.open_streams == 8_000
