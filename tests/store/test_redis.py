"""What the store in Redis alone has to do; what every store does is in `test_contract.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mooring.core.model import NO_OWNER, NodeState, ShardOwner, Touch, unknown_node
from mooring.errors import SettingsError, StoreUnavailable
from mooring.store import RedisStore, Store
from tests.real_redis import SERVERS, Flavour, real_redis
from tests.store.examples import NODE, OTHER, RECORD, SEALS
from tests.waiting import until


@pytest.mark.parametrize("flavour", SERVERS)
async def test_a_record_in_redis_has_the_time_to_live_that_was_asked_for(flavour: Flavour) -> None:
    async with real_redis(flavour) as server:
        store = RedisStore(server.url, "team:mcp", timeout_seconds=2, seals=SEALS)
        await store.save_session(RECORD, ttl_seconds=60)
        async with server.client() as client:
            key = f"team:mcp:session:{{{RECORD.id}}}"
            assert await server.keys() == [key]
            assert 0 < await client.ttl(key) <= 60
            await store.touch_sessions([Touch(RECORD.id, RECORD.epoch, 2.0)], ttl_seconds=600)
            assert 60 < await client.ttl(key) <= 600
        await store.aclose()


@pytest.fixture(params=SERVERS)
async def junkyard(request: pytest.FixtureRequest) -> AsyncIterator[tuple[RedisStore, Any]]:
    """A real store with two nodes and a shard each, and a client for what people and newer versions write there."""
    async with real_redis("valkey" if request.param == "valkey" else "redis") as server, server.client() as client:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        for node, shard in ((NODE, "abcde"), (OTHER, "klmno")):
            await store.register(node, 60)
            await store.claim(shard, ShardOwner(node.id, 1), 0)
        yield store, client
        await store.aclose()


NODES_KEY, SHARDS_KEY = "mcp:{cluster}:nodes", "mcp:{cluster}:shards"
JUNK = ("", "junk", "1", "1 2", "x y z", "-1 -2 {}", "9" * 40 + " 1 {}", "\n", '{"until": 5}')


async def test_entries_that_do_not_read_are_left_out(junkyard: tuple[RedisStore, Any]) -> None:
    store, client = junkyard
    await client.hset(NODES_KEY, mapping={f"junk-{n}": junk for n, junk in enumerate(JUNK)})
    await client.hset(NODES_KEY, "half", '1 2 {"id": 1}')
    await client.hset(SHARDS_KEY, mapping={"BAD": "1 x", "fghij": "nothing"})
    await client.hset("mcp:session:{junk}", "created", "never")
    snapshot = await store.snapshot()
    assert set(snapshot.leases) == {NODE.id, OTHER.id, "half"}
    assert snapshot.leases["half"].node == unknown_node("half")
    assert set(snapshot.shards) == {"abcde", "klmno"}
    assert [record async for record in store.sessions()] == []


@pytest.mark.parametrize("junk", JUNK)
async def test_junk_makes_no_script_fail_and_is_left_alone(junkyard: tuple[RedisStore, Any], junk: str) -> None:
    store, client = junkyard
    await client.hset(NODES_KEY, "junk", junk)
    await client.hset(SHARDS_KEY, "fghij", f"x{junk}")
    await client.hset(SHARDS_KEY, "pqrst", "1 junk")
    await client.hset(SHARDS_KEY, "#version", junk)
    renewed_ms = (await store.snapshot()).leases[NODE.id].renewed_ms
    assert await store.heartbeat(NODE, 60, renewed_ms, known=None) is not None
    assert await store.heartbeat(replace(NODE, id="junk"), 60, 1, known=None) is None
    assert await store.adopt("fghij", NODE.id, 1) == NO_OWNER
    assert await store.adopt("pqrst", NODE.id, 1) == ShardOwner("junk", 1)
    assert await store.give("fghij", ShardOwner(NODE.id, 1), OTHER.id) == NO_OWNER
    assert await store.give("abcde", ShardOwner(NODE.id, 1), "junk") == ShardOwner(NODE.id, 1)
    assert await store.bury("junk") is False
    assert await store.prune(0) == 0
    assert await client.hget(NODES_KEY, "junk") == junk
    assert await client.hget(SHARDS_KEY, "fghij") == f"x{junk}"
    assert await store.claim("fghij", ShardOwner(NODE.id, 1), 0) == ShardOwner(NODE.id, 1)
    assert (await store.snapshot()).version > 0
    await store.register(replace(NODE, id="junk"), 60)
    assert "junk" in (await store.snapshot()).leases


async def test_a_node_of_a_newer_version_is_alive_while_its_lease_is(junkyard: tuple[RedisStore, Any]) -> None:
    store, client = junkyard
    ends, renewed, said = (await client.hget(NODES_KEY, OTHER.id)).split(" ", 2)
    newer = said.replace('"ready"', '"hibernating"')
    await client.hset(NODES_KEY, OTHER.id, f"{ends} {renewed} {newer}")
    lease = (await store.snapshot()).leases[OTHER.id]
    assert lease.node == replace(OTHER, state=NodeState.UNKNOWN)
    assert await store.adopt("klmno", NODE.id, 1) == ShardOwner(OTHER.id, 1)
    assert await store.give("abcde", ShardOwner(NODE.id, 1), OTHER.id) == ShardOwner(OTHER.id, 2)
    await client.hset(NODES_KEY, OTHER.id, f"1 1 {newer}")
    assert await store.adopt("klmno", NODE.id, 1) == ShardOwner(NODE.id, 2)
    assert await store.bury(OTHER.id) is True
    lease = (await store.snapshot()).leases[OTHER.id]
    assert (lease.node, lease.until_ms) == (replace(OTHER, state=NodeState.UNKNOWN), 0)


@pytest.mark.parametrize("said", ["[1]", "junk", "{", '{"state": 3}', "[" * 5000])
async def test_a_node_that_says_nothing_that_reads_can_be_buried(junkyard: tuple[RedisStore, Any], said: str) -> None:
    store, client = junkyard
    await client.hset(NODES_KEY, OTHER.id, f"{2**50} 1 {said}")
    assert await store.adopt("klmno", NODE.id, 1) == ShardOwner(OTHER.id, 1)
    assert await store.bury(OTHER.id) is True
    lease = (await store.snapshot()).leases[OTHER.id]
    assert (lease.node.state, lease.until_ms) == (NodeState.UNKNOWN, 0)
    assert await store.adopt("klmno", NODE.id, 1) == ShardOwner(NODE.id, 2)


@pytest.mark.parametrize("url", ["redis://user:hunter2@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=hunter2"])
async def test_a_redis_that_is_away_is_told_in_one_line_without_the_password(url: str) -> None:
    store = RedisStore(url, "mcp", timeout_seconds=0.5, seals=SEALS)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1") as told:
        await store.snapshot()
    assert "hunter2" not in str(told.value)
    await store.aclose()


@pytest.mark.real
async def test_a_redis_that_hangs_is_away_after_its_time(tmp_path: Path) -> None:
    async with real_redis() as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=0.2, seals=SEALS)
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


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host",
        "redis://user:hunter2@host:port/0",
        "redis://host:99999999?password=hunter2&db=x",
        "unix://user:hunter2@/redis.sock?db=none",
    ],
)
def test_a_url_that_means_nothing_is_a_wrong_setting_and_hides_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as told:
        RedisStore(url, "mcp", timeout_seconds=1, seals=SEALS)
    assert told.value.name == "redis_url"
    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("junk", ["", "abcdefg", "ABCDE", "abcd\n", "{}", "\xff\xfe\xff\xfe\xff"])
async def test_what_is_no_shard_is_no_place(junkyard: tuple[RedisStore, Any], junk: str) -> None:
    """Calls would go there, and a node would claim it."""
    store, client = junkyard
    await client.set("mcp:place:{key}", junk)
    assert await store.place("key", "fghij", 60_000) == "fghij"
    assert await store.place("key", "klmno", 60_000) == "fghij"
