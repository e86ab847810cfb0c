"""What the store in Redis alone has to do; what every store does is in `test_contract.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from mooring.core.model import ShardOwner
from mooring.errors import StoreUnavailable
from mooring.store import RedisStore, Store
from tests.real_redis import SERVERS, Flavour, real_redis
from tests.store.examples import NODE, RECORD
from tests.waiting import until


@pytest.mark.parametrize("flavour", SERVERS)
async def test_a_record_in_redis_has_the_time_to_live_that_was_asked_for(flavour: Flavour) -> None:
    async with real_redis(flavour) as server:
        store = RedisStore(server.url, "team:mcp", timeout_seconds=2)
        await store.save_session(RECORD, ttl_seconds=60)
        async with server.client() as client:
            key = f"team:mcp:session:{{{RECORD.id}}}"
            assert await server.keys() == [key]
            assert 0 < await client.ttl(key) <= 60
            await store.touch_sessions({RECORD.id: 2.0}, ttl_seconds=600)
            assert 60 < await client.ttl(key) <= 600
        await store.aclose()


@pytest.mark.real
async def test_entries_that_do_not_read_are_left_out() -> None:
    async with real_redis() as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=2)
        await store.register(NODE, 5)
        await store.claim("abcde", ShardOwner(NODE.id, 1), 0)
        async with server.client() as client:
            await client.hset("mcp:{cluster}:nodes", "junk", "not a lease")
            await client.hset("mcp:{cluster}:nodes", "half", '1 2 {"id": 1}')
            await client.hset("mcp:{cluster}:shards", mapping={"BAD": "1 x", "fghij": "nothing"})
            await client.hset("mcp:session:{junk}", "created", "never")
        snapshot = await store.snapshot()
        assert set(snapshot.leases) == {NODE.id}
        assert set(snapshot.shards or {}) == {"abcde"}
        assert [record async for record in store.sessions()] == []
        await store.aclose()


@pytest.mark.parametrize("url", ["redis://user:hunter2@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=hunter2"])
async def test_a_redis_that_is_away_is_told_in_one_line_without_the_password(url: str) -> None:
    store = RedisStore(url, "mcp", timeout_seconds=0.5)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1") as told:
        await store.snapshot()
    assert "hunter2" not in str(told.value)
    await store.aclose()


@pytest.mark.real
async def test_a_redis_that_hangs_is_away_after_its_time(tmp_path: Path) -> None:
    async with real_redis() as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=0.2)
        await store.register(NODE, 5)
        server.freeze()
        try:
            with pytest.raises(StoreUnavailable):
                await store.snapshot()
        finally:
            server.thaw()
        await until(lambda: _has(store), what="Redis to be back")
        await store.aclose()


async def _has(store: Store) -> bool:
    try:
        return NODE.id in (await store.snapshot()).leases
    except StoreUnavailable:
        return False
