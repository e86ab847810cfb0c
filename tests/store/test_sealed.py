"""What clients said is sealed in a session's record; what is not there, not ours, or from before does no harm."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from mooring.core.model import Written
from mooring.core.sealing import OVERHEAD_BYTES, Seals
from mooring.errors import SettingsError
from mooring.store import RedisStore, open_store
from mooring.store.clients import client_of
from mooring.store.sealed import seal, unseal
from tests.real_redis import RealRedis
from tests.store.examples import RECORD, SEALS, SECRET

ASKED = replace(RECORD, subscriptions=("file:///private", "file:///naïve"))
KEY = f"mcp:session:{{{RECORD.id}}}"


@pytest.fixture
async def redis(server: RealRedis) -> AsyncIterator[Any]:
    client = client_of(server.url, 2)
    yield client
    await client.aclose()


@pytest.fixture
async def store(server: RealRedis) -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
    assert await store.save_session(ASKED, 600) is Written.DONE
    yield store
    await store.aclose()


def test_nothing_is_sealed_twice_the_same() -> None:
    assert seal(SEALS, b"a text", RECORD.id, "body") != seal(SEALS, b"a text", RECORD.id, "body")


def test_what_does_not_open_is_told_of_once_for_each_stream(caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        for stream in ("one", "two"):
            assert unseal(SEALS, b"junk", RECORD.id, f"log {stream} {number}") is None
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 2
    assert all("cannot be read" in line and RECORD.id not in line for line in lines)


async def test_what_a_client_said_is_not_shown_in_its_record(store: RedisStore, redis: Any) -> None:
    fields = await redis.hgetall(KEY)
    assert RECORD.initialize not in repr(fields).encode()
    assert b"private" not in repr(fields).encode()
    assert len(fields[b"initialize"]) == len(RECORD.initialize) + OVERHEAD_BYTES
    assert await store.load_session(RECORD.id) == ASKED
    assert [record async for record in store.sessions()] == [ASKED]


async def test_a_session_costs_less_than_a_kibibyte_beyond_its_initialize(store: RedisStore, redis: Any) -> None:
    large = replace(RECORD, initialize=b"x" * 400, principal="p" * 64, client="c" * 32, endpoint="/an/endpoint/mcp")
    await store.save_session(large, 600)
    assert await redis.memory_usage(KEY, samples=0) <= 400 + 1024


async def test_a_record_of_an_earlier_version_reads(store: RedisStore, redis: Any) -> None:
    await redis.hset(KEY, mapping={"initialize": RECORD.initialize, "subscriptions": '["file:///private"]'})
    assert await store.load_session(RECORD.id) == replace(ASKED, subscriptions=("file:///private",))


@pytest.mark.parametrize("name", ["initialize", "subscriptions"])
async def test_a_forged_field_counts_as_not_there_and_the_rest_of_the_record_reads(
    store: RedisStore, redis: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    sealed = await redis.hget(KEY, name)
    other = b"subscriptions" if name == "initialize" else b"initialize"
    for forged in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:20], await redis.hget(KEY, other)):
        await redis.hset(KEY, name, forged)
        expected = replace(ASKED, initialize=b"") if name == "initialize" else replace(ASKED, subscriptions=())
        assert await store.load_session(RECORD.id) == expected
        assert await store.load_session(RECORD.id) == expected
    assert RECORD.id not in caplog.text
    assert len(caplog.records) == 2


async def test_who_has_no_secret_reads_the_rest_and_writes_none(store: RedisStore, server: RealRedis) -> None:
    reader = open_store(server.url)
    assert await reader.load_session(RECORD.id) == replace(RECORD, initialize=b"")
    with pytest.raises(SettingsError, match="secret"):
        await reader.save_session(RECORD, 600)
    await reader.aclose()
    assert await store.load_session(RECORD.id) == ASKED


async def test_a_secret_is_changed_and_no_record_lost(store: RedisStore, server: RealRedis) -> None:
    new = "a new secret of the same cluster"
    for secrets in ([SECRET, new], [new, SECRET], [new]):
        with_these = RedisStore(server.url, "mcp", timeout_seconds=2, seals=Seals(secrets, "mcp"))
        assert await with_these.load_session(RECORD.id) == ASKED
        assert await with_these.save_session(ASKED, 600) is Written.DONE
        await with_these.aclose()
