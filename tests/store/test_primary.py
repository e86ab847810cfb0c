"""A primary that is relieved while all connections to it are well, and what becomes of what is written then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from mooring.core.model import Written
from mooring.errors import StoreUnavailable
from mooring.store import RedisStore
from mooring.store.clients import client_of
from mooring.store.primary import PrimaryWatch
from tests.fakes import Clock
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.redis_groups import Group, real_sentinel
from tests.store.examples import NODE, RECORD, SEALS
from tests.waiting import until

real = pytest.mark.real
LEASES, RECORD_KEY = "mcp:{cluster}:nodes", f"mcp:session:{{{RECORD.id}}}"


@pytest.fixture
def group() -> Iterator[Group]:
    with real_sentinel() as servers:
        yield servers


@real
async def test_who_beats_and_who_looks_follow_the_sentinels_to_another_primary(group: Group) -> None:
    node, onlooker = (RedisStore(group.url, "mcp", timeout_seconds=1, seals=SEALS) for _ in range(2))
    await node.register(NODE, 60)
    await node.save_session(RECORD, 600)
    assert set((await onlooker.snapshot()).leases) == {NODE.id}
    replica = group.replica_of(group.primary_of(LEASES))
    # Nobody ends the connections: the old primary does not know yet that it is none.
    await asyncio.to_thread(group.hand_over, replica)
    await asyncio.to_thread(group.wait_until_primary, replica)
    new: Any = Redis(port=replica, db=int(group.db))
    async with new:
        await new.delete(LEASES, RECORD_KEY)

        async def both_are_there() -> bool:
            try:
                await node.register(NODE, 60)
                assert await node.save_session(RECORD, 600) is Written.DONE
                await onlooker.snapshot()
            except StoreUnavailable:
                return False
            return bool(await new.exists(LEASES) and await new.exists(RECORD_KEY))

        # Sentinels relieve the old one after eight seconds at the earliest.
        await until(both_are_there, what="both to write to the new primary", seconds=5)
        await new.hset(LEASES, "node-9-aaaaa", "1 1 {}")

    async def onlooker_sees() -> bool:
        return "node-9-aaaaa" in (await onlooker.snapshot()).leases

    await until(onlooker_sees, what="the onlooker to read from the new primary", seconds=5)
    for store in (node, onlooker):
        await store.aclose()


@real
async def test_who_met_the_new_primary_by_itself_is_told_that_it_may_lack_something(group: Group) -> None:
    """Its connections broke while nothing was under way, or for somebody else: nobody has heard of an error."""
    clock, moves = Clock(), 0

    def moved() -> None:
        nonlocal moves
        moves += 1

    client = client_of(group.url, 1)
    watch = PrimaryWatch([client], moved, clock)

    async def look() -> None:
        clock.now += 1
        watch.glance()
        assert watch._asking is not None
        await watch._asking

    await client.ping()
    await look()
    replica = group.replica_of(group.another_primary(0))
    await asyncio.to_thread(group.hand_over, replica)
    await asyncio.to_thread(group.wait_until_primary, replica)

    async def is_there() -> bool:
        await client.connection_pool.disconnect()
        await client.ping()
        return bool(client.connection_pool.master_address == ("127.0.0.1", replica))

    await until(is_there, what="the client to meet the new primary")
    for _ in range(2):
        await look()
    assert moves == 1
    await watch.aclose()
    await client.aclose()


@real
async def test_sentinels_are_asked_once_a_second_and_nobody_waits_for_them(group: Group) -> None:
    clock, asked = Clock(), 0
    client = client_of(group.url, 1)
    sentinels = client.connection_pool.sentinel_manager
    discover = sentinels.discover_master

    async def counted(name: str) -> Any:
        nonlocal asked
        asked += 1
        return await discover(name)

    sentinels.discover_master = counted
    watch = PrimaryWatch([client], lambda: pytest.fail("nothing has moved"), clock)
    for seconds in (0.0, 0.4, 0.4, 0.4, 0.4, 0.4):
        clock.now += seconds
        watch.glance()
        watch.glance()

        async def is_told() -> bool:
            return watch._asking is None

        await until(is_told, what="the sentinels to answer")
    assert asked == 2
    await watch.aclose()
    await client.aclose()


@real
async def test_sentinels_that_do_not_answer_are_no_reason_to_do_anything(group: Group) -> None:
    store = RedisStore(group.url, "mcp", timeout_seconds=1, seals=SEALS)
    await store.register(NODE, 60)
    await store.save_session(RECORD, 600)
    group.kill(group.sentinels[0])
    for _ in range(3):
        await store.snapshot()
        assert await store.save_session(RECORD, 600) is Written.DONE
    await store.aclose()


async def test_other_kinds_of_redis_have_nobody_to_ask() -> None:
    for url in ("redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1"):
        client = client_of(url, 1)
        watch = PrimaryWatch([client], lambda: pytest.fail("nothing has moved"))
        watch.glance()
        assert watch._asking is None
        await watch.aclose()
        await client.aclose()


@real
async def test_a_server_that_became_a_replica_is_left_for_the_one_that_its_name_leads_to() -> None:
    """As behind a managed Redis's one name: connections stay open, and lead to a replica from then on."""
    port = free_port()
    async with real_redis("redis", "--port", str(port), "--bind", "127.0.0.1") as server:
        store = RedisStore(f"redis://127.0.0.1:{port}", "mcp", timeout_seconds=1, seals=SEALS)
        await store.register(NODE, 60)
        await store.save_session(RECORD, 600)
        async with server.client() as client:
            before = {entry["id"] for entry in await client.client_list() if entry["name"] == "mooring"}
            assert len(before) == 2
            await client.replicaof("127.0.0.1", "1")
            with pytest.raises(StoreUnavailable, match="is a read-only replica"):
                await store.register(NODE, 60)
            await client.replicaof("no", "one")
            await store.register(NODE, 60)
            assert await store.save_session(RECORD, 600) is Written.DONE
            after = {entry["id"] for entry in await client.client_list() if entry["name"] == "mooring"}
        await store.aclose()
    assert len(after) == 2
    assert not before & after
