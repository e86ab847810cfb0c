"""However much is asked at once: one connection, few round trips, and a Redis that is well never reads as away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from mooring.core.model import SessionRecord, Touch, Written
from mooring.errors import StoreUnavailable
from mooring.store import RedisStore
from mooring.store.lane import BATCH, Command, Lane, Script
from tests.real_redis import RealRedis, real_redis
from tests.store.examples import NODE, RECORD, SEALS

pytestmark = pytest.mark.real

OPENINGS = 2_000
PATIENCE_SECONDS = 20
"""A command's, of a store whose Redis is well, on a machine that may be busy."""


@pytest.fixture
async def redis() -> AsyncIterator[RealRedis]:
    async with real_redis() as server:
        yield server


@pytest.fixture
async def store(redis: RealRedis) -> AsyncIterator[RedisStore]:
    opened = RedisStore(redis.url, "mcp", timeout_seconds=PATIENCE_SECONDS, seals=SEALS)
    yield opened
    await opened.aclose()


def records(count: int) -> list[SessionRecord]:
    large = b'{"method":"initialize","params":"' + b"x" * 2_000 + b'"}'
    return [replace(RECORD, id=f"abcde.{n:022d}.BBBBBBBBBBB", initialize=large) for n in range(count)]


class Heart:
    """Beats without pause, and remembers how long its slowest beat took."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self.beats = 0
        self.slowest_seconds = 0.0

    async def run(self) -> None:
        renewed_ms = await self._store.register(NODE, 60)
        while True:
            began = time.monotonic()
            snapshot = await self._store.heartbeat(NODE, 60, renewed_ms, None)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            assert snapshot is not None
            renewed_ms = snapshot.leases[NODE.id].renewed_ms
            self.beats += 1
            await asyncio.sleep(0.01)


async def test_thousands_of_sessions_are_opened_at_once_while_the_heart_goes_on(store: RedisStore) -> None:
    heart = Heart(store)
    beating = asyncio.create_task(heart.run())
    started = time.monotonic()
    written = await asyncio.gather(*(store.save_session(record, 60) for record in records(OPENINGS)))
    assert set(written) == {Written.DONE}
    assert not beating.done()
    beating.cancel()
    assert heart.beats > 5
    assert heart.slowest_seconds < max(2, (time.monotonic() - started) / 2)
    assert len([record async for record in store.sessions()]) == OPENINGS


async def test_writing_everything_anew_holds_up_neither_a_heartbeat_nor_an_opening(store: RedisStore) -> None:
    heart = Heart(store)
    beating = asyncio.create_task(heart.run())
    started = time.monotonic()
    everything = asyncio.create_task(store.save_sessions(records(20_000), 600))
    slowest_seconds, openings = 0.0, 0
    while not everything.done():
        began = time.monotonic()
        await store.save_session(replace(RECORD, id=f"fghij.{openings:022d}.BBBBBBBBBBB"), 60)
        slowest_seconds, openings = max(slowest_seconds, time.monotonic() - began), openings + 1
    assert await everything == {}
    assert not beating.done()
    beating.cancel()
    taken = time.monotonic() - started
    assert heart.slowest_seconds < taken / 4
    assert openings > 10
    assert slowest_seconds < taken / 2


async def test_a_redis_that_takes_few_clients_is_enough() -> None:
    async with real_redis("valkey", "--maxclients", "4") as redis:
        stores = [RedisStore(redis.url, "mcp", timeout_seconds=PATIENCE_SECONDS, seals=SEALS) for _ in range(2)]
        half = OPENINGS // 2
        both = records(OPENINGS)
        hearts = [asyncio.create_task(Heart(store).run()) for store in stores[:1]]
        for store, share in zip(stores, (both[:half], both[half:]), strict=True):
            assert set(await asyncio.gather(*(store.save_session(record, 60) for record in share))) == {Written.DONE}
        assert not hearts[0].done()
        hearts[0].cancel()
        assert len([record async for record in stores[1].sessions()]) == OPENINGS
        for store in stores:
            await store.aclose()


async def test_a_store_has_two_connections_whatever_it_is_asked(redis: RealRedis, store: RedisStore) -> None:
    await store.register(NODE, 5)
    await asyncio.gather(*(store.snapshot() for _ in range(50)), *(store.load_session(RECORD.id) for _ in range(500)))
    async with redis.client() as client:
        assert len([other for other in await client.client_list() if other["name"] == "mooring"]) == 2


async def test_whoever_waits_for_a_redis_that_hangs_waits_no_longer_than_the_first(redis: RealRedis) -> None:
    store = RedisStore(redis.url, "mcp", timeout_seconds=0.3, seals=SEALS)
    await store.load_session(RECORD.id)
    redis.freeze()
    began = time.monotonic()
    try:
        asked = [store.save_session(record, 60) for record in records(OPENINGS)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        redis.thaw()
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert time.monotonic() - began < 10  # one after the other they wait for minutes
    assert await store.save_session(RECORD, 60) is Written.DONE
    await store.aclose()


async def test_one_who_is_cancelled_takes_no_others_answer_along(store: RedisStore) -> None:
    asked = [asyncio.create_task(store.save_session(record, 60)) for record in records(3 * BATCH)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert set(answers[1::2]) == {Written.DONE}
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])


async def test_a_redis_that_forgot_the_scripts_is_told_them_again(redis: RealRedis, store: RedisStore) -> None:
    await store.register(NODE, 5)
    async with redis.client() as client:
        for _ in range(2):
            await client.script_flush()
            assert set((await store.snapshot()).leases) == {NODE.id}
            assert await store.save_sessions(records(BATCH + 1), 60) == {}
            touches = [Touch(record.id, record.epoch, 2.0) for record in records(BATCH + 1)]
            assert await store.touch_sessions(touches, 60) == {}


async def test_closing_leaves_nobody_waiting(redis: RealRedis) -> None:
    store = RedisStore(redis.url, "mcp", timeout_seconds=5, seals=SEALS)
    await store.load_session(RECORD.id)
    redis.freeze()
    try:
        asked = [asyncio.create_task(store.save_session(record, 60)) for record in records(BATCH + 1)]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(store.aclose(), 2)
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 2)
    finally:
        redis.thaw()
    assert {str(answer) for answer in answers} == {"closed while writing a session's record"}


async def test_one_that_redis_refuses_is_refused_alone(redis: RealRedis) -> None:
    def explain(error: Exception, doing: str) -> StoreUnavailable:
        return StoreUnavailable(f"{doing}: {type(error).__name__}")

    client: Any = Redis.from_url(redis.url, max_connections=1)
    lane = Lane(client, explain)
    good, bad = Command(("SET", "a", "1")), Script.of("return redis.error_reply('OOM no room')").on([], [])
    answers = await asyncio.gather(
        lane.ask("one", good), lane.ask("two", bad), lane.ask("three", good), return_exceptions=True
    )
    assert [str(answer) for answer in answers] == ["True", "two: OutOfMemoryError", "True"]
    with pytest.raises(StoreUnavailable, match="many: OutOfMemoryError"):
        await lane.ask_all("many", [good, bad, bad, good])
    await lane.aclose()
