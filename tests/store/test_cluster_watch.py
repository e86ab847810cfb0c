"""Primaries that have sessions and no leases, and what a node learns of them that writes nothing there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mooring.core.model import SessionRecord
from mooring.store import RedisStore
from mooring.store.clients import client_of
from mooring.store.cluster_watch import ClusterWatch
from mooring.store.trouble import CLUSTER_RIGHTS, RIGHTS
from tests.fakes import Clock
from tests.redis_groups import PASSWORD, Group, real_cluster
from tests.store.examples import NODE, RECORD, SEALS
from tests.waiting import until

LEASES = "mcp:{cluster}:nodes"


@pytest.fixture(scope="module")
def servers() -> Iterator[Group]:
    with real_cluster(replicas=1, password=True) as group:
        yield group


@pytest.fixture
def group(servers: Group) -> Group:
    """Whole again after whatever befell it."""
    servers.wait_until_whole()
    return servers


class Beating:
    """A node that renews its lease, and writes nothing else but what the test has it write."""

    def __init__(self, url: str) -> None:
        self.store = RedisStore(url, "mcp", timeout_seconds=1, seals=SEALS)
        self.renewed_ms = 0
        # How often it was told that the store may have lost something.
        self.losses = 0
        self.watch = self.store._cluster
        self.watch._now = self.clock = Clock()

    async def register(self) -> None:
        self.renewed_ms = await self.store.register(NODE, 60)

    async def beat(self) -> None:
        """A heartbeat a second later, whose glance at the cluster is over when this returns."""
        self.clock.now += 1
        snapshot = await self.store.heartbeat(NODE, 60, self.renewed_ms, None)
        if snapshot is None:
            self.losses += 1
            await self.register()
        else:
            self.renewed_ms = snapshot.leases[NODE.id].renewed_ms
        if self.watch._asking is not None:
            await self.watch._asking

    async def has_noticed(self) -> bool:
        await self.beat()
        return self.losses > 0

    async def record_beside_the_leases(self, group: Group) -> tuple[SessionRecord, int]:
        """One on a primary that has no leases, and the port of that one."""
        leases = await asyncio.to_thread(group.primary_of, LEASES)
        for number in range(100):
            record = replace(RECORD, id=f"abcde.{number:022}.BBBBBBBBBBB")
            await self.store.save_session(record, 600)
            primary = await asyncio.to_thread(group.primary_of, f"mcp:session:{{{record.id}}}")
            if primary != leases:
                return record, primary
        raise AssertionError("all primaries have leases")


@pytest.fixture
async def node(group: Group) -> AsyncIterator[Beating]:
    node = Beating(group.url)
    await node.register()
    for _ in range(3):
        await node.beat()
    assert node.losses == 0
    yield node
    await node.store.aclose()


@pytest.mark.real
async def test_one_that_is_replaced_by_a_replica_that_lacks_its_last_writes_is_noticed(
    group: Group, node: Beating
) -> None:
    record, primary = await node.record_beside_the_leases(group)
    replica = await asyncio.to_thread(group.replica_of, primary)
    await asyncio.to_thread(group.cut_off, replica)
    await node.store.save_session(replace(record, principal="the last that it was told"), 600)
    await asyncio.to_thread(group.kill, primary)
    await asyncio.to_thread(group.wait_until_primary, replica)
    await asyncio.to_thread(group.start_again, primary, replica)
    await asyncio.to_thread(group.reconnect, replica)
    await until(node.has_noticed, what="the node to notice")
    await asyncio.to_thread(group.wait_until_whole)
    assert await node.store.load_session(record.id) == record
    for _ in range(3):
        await node.beat()
    assert node.losses == 1


@pytest.mark.real
async def test_one_that_is_started_again_with_nothing_is_noticed(group: Group, node: Beating) -> None:
    """At once, before anybody has missed it: it has the same address, the same name and the same slots."""
    _, primary = await node.record_beside_the_leases(group)
    await asyncio.to_thread(group.kill, primary)
    await asyncio.to_thread(group.start_again, primary, primary)
    assert await asyncio.to_thread(group.is_primary, primary)
    await until(node.has_noticed, what="the node to notice")


@pytest.mark.real
async def test_so_it_is_by_a_user_who_may_not_ask_for_histories(group: Group) -> None:
    rights = ["on", f">{PASSWORD}", "~mcp:*", "&mcp:*", *RIGHTS.split(), *CLUSTER_RIGHTS.split(), "-info"]
    group.everywhere("acl", "setuser", "mooring", *rights)
    node = Beating(group.url.replace("://:", "://mooring:"))
    await node.register()
    for _ in range(3):
        await node.beat()
    assert node.losses == 0
    _, primary = await node.record_beside_the_leases(group)
    await asyncio.to_thread(group.kill, primary)
    await asyncio.to_thread(group.start_again, primary, primary)
    group.cli(primary, "acl", "setuser", "mooring", *rights)
    await until(node.has_noticed, what="the node to notice")
    await node.store.aclose()


@pytest.mark.real
async def test_slots_that_go_to_another_primary_are_no_loss(group: Group, node: Beating) -> None:
    one = group.another_primary(0)
    slot = group.cli(one, "cluster", "keyslot", "nothing")
    group.everywhere("cluster", "setslot", slot, "node", group.cli(one, "cluster", "myid"))
    for _ in range(3):
        await node.beat()
    assert node.losses == 0


@pytest.mark.real
async def test_primaries_are_asked_once_a_second_and_nobody_waits_for_them(group: Group) -> None:
    clock, asked = Clock(), 0
    watch = ClusterWatch(client_of(group.url, 1), lambda: pytest.fail("nothing is lost"), clock)
    for seconds in (0.0, 0.4, 0.4, 0.4, 0.4, 0.4):
        clock.now += seconds
        watch.glance()
        asking = watch._asking
        watch.glance()
        assert watch._asking is asking
        if asking is not None:
            asked += 1
            await asking
    assert asked == 2
    await watch.aclose()


async def test_other_kinds_of_redis_have_no_primaries_to_ask() -> None:
    client: Any = client_of("redis://127.0.0.1:1", 1)
    watch = ClusterWatch(client, lambda: pytest.fail("nothing is lost"))
    watch.glance()
    assert watch._asking is None
    await watch.aclose()
    await client.aclose()
