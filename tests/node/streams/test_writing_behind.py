"""What another node may need is written behind, in order, and nobody waits for it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from mooring.core.model import Touch
from mooring.core.sse import SseEvent, SseParser
from mooring.core.stream_ids import StreamFacts, StreamIds, StreamKind
from mooring.errors import StoreUnavailable
from mooring.node.streams import writing_behind
from mooring.node.streams.memory import StreamMemory
from mooring.node.streams.stream import Stream
from mooring.node.streams.writing_behind import WriteBehind
from mooring.store import MemoryStore
from mooring.store.journal import Call, LogEntry
from tests.fakes import FlakyStore, SteppedTime
from tests.store.examples import RECORD

SESSION, EPOCH = RECORD.id, RECORD.epoch
STANDING = StreamFacts(StreamKind.STANDING, 0)


@dataclass
class Writer:
    """A node's streams, and what is written of them."""

    time: SteppedTime
    store: FlakyStore
    behind: WriteBehind
    memory: StreamMemory

    def call(self, number: int = 1, body: bytes = b"{}") -> Stream:
        stream = self.memory.open(SESSION, StreamFacts(StreamKind.CALL, 0, number), EPOCH)
        call = Call(stream.id, json.dumps(number), "tools/call", "count", body, self.time.now)
        self.memory.began(SESSION, stream, lambda: call)
        return stream

    async def end(self, stream: Stream) -> None:
        await stream.end()
        self.memory.is_over(SESSION, stream)

    async def read(self, stream: Stream) -> list[LogEntry]:
        return await self.store.inner.journal.read(SESSION, stream.id)

    async def running(self) -> list[str]:
        return [call.stream for call in await self.store.inner.journal.calls(SESSION)]


def texts(entries: list[LogEntry]) -> list[str | None]:
    """What they say; None where that is lost."""
    said = [None if one.data is None else SseParser().feed(one.data) for one in entries if not one.is_last]
    return [None if events is None else events[0].data for events in said]


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    time = SteppedTime()
    store = FlakyStore(MemoryStore(time))
    await store.inner.save_session(RECORD, 1_000)
    behind = WriteBehind(lambda: store.journal, 0.01, 300, now=time, sleep=time.sleep)
    memory = StreamMemory(StreamIds(b"key"), 100_000, 10_000_000, 300, behind, now=time)
    behind.start()
    yield Writer(time, store, behind, memory)
    await behind.stop()


async def test_what_is_answered_in_a_moment_is_not_written(writer: Writer) -> None:
    stream = writer.call()
    await stream.say(SseEvent("a"))
    await writer.time.passes(0.009)
    await writer.end(stream)
    await writer.time.passes(10)
    assert writer.store.calls == []


async def test_what_takes_longer_is_written_with_all_that_was_said(writer: Writer) -> None:
    stream = writer.call()
    await stream.say(SseEvent("a"))
    await writer.time.passes(0.02)
    assert texts(await writer.read(stream)) == ["a"]
    assert await writer.running() == [stream.id]
    await stream.say(SseEvent("b"))
    await stream.say(SseEvent("c"))
    await writer.time.passes(0.02)
    assert texts(await writer.read(stream)) == ["a", "b", "c"]
    await writer.end(stream)
    await writer.time.passes(0.02)
    entries = await writer.read(stream)
    assert texts(entries) == ["a", "b", "c"]
    assert entries[-1].is_last
    assert await writer.running() == []


async def test_a_call_that_is_kept_with_what_it_changed_stays_on_record(writer: Writer) -> None:
    stream = writer.call()
    await writer.time.passes(0.02)
    stream.is_kept = True
    await writer.end(stream)
    await writer.time.passes(0.02)
    assert await writer.running() == [stream.id]
    assert (await writer.read(stream))[-1].is_last


async def test_much_that_is_said_at_once_is_written_at_once(writer: Writer) -> None:
    streams = [writer.call(number) for number in range(20)]
    await writer.time.passes(0.02)
    writer.store.calls.clear()
    for stream in streams:
        for text in "abc":
            await stream.say(SseEvent(text))
    await writer.time.passes(0.02)
    assert writer.store.calls == ["append_all"]
    for stream in streams:
        assert texts(await writer.read(stream)) == ["a", "b", "c"]


async def test_all_that_the_server_says_by_itself_is_written(writer: Writer) -> None:
    stream = writer.memory.open(SESSION, STANDING, EPOCH)
    await stream.say(SseEvent("a"))
    await writer.time.passes(0.02)
    assert texts(await writer.read(stream)) == ["a"]


async def test_a_store_that_is_away_delays_nobody_and_gets_all_when_it_is_back(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mooring.sessions")
    writer.store.away = True
    stream = writer.call()
    await writer.time.passes(1)
    for text in "abc":
        await stream.say(SseEvent(text))
    await writer.time.passes(5)
    await writer.end(stream)
    await writer.time.passes(5)
    assert await writer.read(stream) == []
    writer.store.away = False
    await writer.time.passes(1)
    assert texts(await writer.read(stream)) == ["a", "b", "c"]
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(" until ")[0] for text in told[:1]] == ["streams are not on record"]
    assert told[1:] == ["streams are on record again; 0 events and calls were lost to a next owner so far"]


async def test_one_that_fails_on_the_way_is_told_the_same_once_more_and_keeps_it_once(writer: Writer) -> None:
    stream = writer.call()
    await writer.time.passes(0.02)

    async def goes_away() -> None:
        writer.store.away = True
        raise StoreUnavailable("between the deed and the answer")

    writer.store.after["append_all"] = goes_away
    await stream.say(SseEvent("a"))
    await writer.time.passes(0.02)
    writer.store.away = False
    await stream.say(SseEvent("b"))
    await writer.time.passes(1)
    assert texts(await writer.read(stream)) == ["a", "b"]


async def test_whatever_fails_it_goes_on(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise TypeError("nobody thought of it")

    writer.store.before["append_all"] = fails
    stream = writer.memory.open(SESSION, STANDING, EPOCH)
    await stream.say(SseEvent("a"))
    await writer.time.passes(2)
    assert texts(await writer.read(stream)) == ["a"]
    assert "cannot be written down" in caplog.text


async def test_what_waits_is_bounded_and_what_had_no_place_is_counted(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    writer.store.away = True
    stream = writer.memory.open(SESSION, STANDING, EPOCH)
    large = "x" * 90_000
    count = writing_behind.MOST_WAITING_BYTES // 90_000 + 10
    for _ in range(count):
        await stream.say(SseEvent(large))
    await writer.time.passes(1)
    assert 9 <= writer.behind.lost <= 12
    writer.store.away = False
    await writer.time.passes(5)
    entries = await writer.read(stream)
    assert entries[-1].number == count
    await stream.say(SseEvent("once more"))
    await writer.time.passes(5)
    assert "more than Redis takes" not in caplog.text, "it was away"


async def test_what_is_said_faster_than_the_store_takes_it_is_told_once(
    writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    stream = writer.memory.open(SESSION, STANDING, EPOCH)
    for _ in range(2):
        for _ in range(writing_behind.MOST_WAITING + 5):  # the store has no moment meanwhile
            await stream.say(SseEvent("x"))
        await writer.time.passes(5)
    assert writer.behind.lost == 10
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "more than Redis takes in that time: 5 events and calls were lost" in told[0]


async def test_an_event_that_is_too_large_for_the_store_keeps_its_place(writer: Writer) -> None:
    stream = writer.call()
    await stream.say(SseEvent("a"))
    await stream.say(SseEvent("x" * 200_000))  # larger than the log
    await stream.say(SseEvent("c"))
    await writer.time.passes(0.02)
    assert texts(await writer.read(stream)) == ["a", None, "c"]


async def test_nothing_more_is_written_of_what_is_forgotten(writer: Writer) -> None:
    young, written = writer.call(1), writer.call(2)
    await writer.time.passes(0.02)
    young = writer.call(3)
    writer.memory.forget(SESSION)
    for stream in (young, written):
        await stream.say(SseEvent("a"))
    await writer.time.passes(1)
    assert await writer.read(young) == await writer.read(written) == []
    assert young.id not in await writer.running()
    assert not writer.behind._written


async def test_a_late_write_of_the_last_owner_is_refused(writer: Writer) -> None:
    stream = writer.call()
    await stream.say(SseEvent("a"))
    await writer.time.passes(0.02)
    await writer.store.inner.touch_sessions([Touch(SESSION, EPOCH + 1, 0.0)], 1_000)
    await stream.say(SseEvent("late"))
    await writer.end(stream)
    await writer.time.passes(1)
    entries = await writer.read(stream)
    assert texts(entries) == ["a"]
    assert not entries[-1].is_last
    assert await writer.running() == [stream.id]


async def test_what_is_left_is_written_when_the_node_stops(writer: Writer) -> None:
    stream = writer.call()
    await writer.time.passes(0.02)
    await stream.say(SseEvent("a"))
    await writer.behind.stop()
    assert texts(await writer.read(stream)) == ["a"]


async def test_a_store_that_is_away_then_is_told_of(writer: Writer, caplog: pytest.LogCaptureFixture) -> None:
    stream = writer.memory.open(SESSION, STANDING, EPOCH)
    await stream.say(SseEvent("a"))
    writer.store.away = True
    await writer.behind.stop()
    assert "what 1 events said is not on record" in caplog.text


async def test_sessions_of_many_epochs_go_together(writer: Writer) -> None:
    other = replace(RECORD, id=SESSION.replace("A", "C"), epoch=EPOCH + 5)
    await writer.store.inner.save_session(other, 1_000)
    streams = {
        name: writer.memory.open(name, STANDING, epoch) for name, epoch in ((SESSION, EPOCH), (other.id, EPOCH + 5))
    }
    for stream in streams.values():
        await stream.say(SseEvent("a"))
    await writer.time.passes(0.02)
    for name, stream in streams.items():
        assert texts(await writer.store.inner.journal.read(name, stream.id)) == ["a"]
