"""Redis fails over under load: a cluster and a primary with sentinels, by death, by freezing, and by request.

Replication is asynchronous, so the new primary may lack what the old one was told last. No client may notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mooring.core.model import SessionRecord
from mooring.store import RedisStore
from tests.bare import ROOT
from tests.e2e.book import Book
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient
from tests.redis_groups import Group, real_cluster, real_sentinel
from tests.waiting import until

pytestmark = pytest.mark.real

LEASES = "mcp:{cluster}:nodes"
Befalls = Callable[[Group, int, int], Awaitable[None]]
NAMES = ("a", "b", "c")
GROUPS = {
    "sentinel": lambda: real_sentinel(3, password=True),
    "cluster": lambda: real_cluster(replicas=1, flavour="valkey", password=True),
}


@dataclass
class Served:
    group: Group
    nodes: list[ServedNode]
    path: Path

    async def records(self) -> dict[str, SessionRecord]:
        store = RedisStore(self.group.url, "mcp", timeout_seconds=2)
        try:
            return {record.id: record async for record in store.sessions()}
        finally:
            await store.aclose()

    async def has_all(self, book: Book) -> bool:
        records = await self.records()
        return set(book.sessions) <= set(records) and not set(book.closed) & set(records)

    async def until_whole(self) -> None:
        """Every primary has its replica again, and every sentinel knows."""
        await asyncio.to_thread(self.group.wait_until_whole)

    async def owners(self, raw: RawClient) -> list[dict[str, Any]]:
        """Whose each shard is, as each node sees it."""
        pages = [await node.status(raw) for node in self.nodes]
        return [{node["name"]: node["shards"] for node in page["nodes"]} for page in pages]

    async def until_well(self, raw: RawClient) -> None:
        async def well() -> bool:
            pages = [await node.status(raw) for node in self.nodes]
            return all([node["state"] for node in page["nodes"]] == ["ready"] * len(NAMES) for page in pages)

        await until(well, what="all nodes to be ready, as all see it")


@pytest.fixture(scope="module", params=GROUPS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three nodes; whoever lets Redis fail over waits until it is whole again."""
    book = tmp_path_factory.mktemp("book") / "entries"
    with GROUPS[request.param]() as group:
        variables = {"ENTRIES": str(book), "MOORING_REDIS_URL": group.url, "MOORING_TOUCH_SECONDS": "600"}
        with serving_nodes("tests/servers/entries.py:server", variables, dict.fromkeys(NAMES, ROOT / "src")) as nodes:
            yield Served(group, nodes, book)


@pytest.fixture(autouse=True)
def logs(served: Served) -> Iterator[None]:
    """Shown with a test that fails."""
    before = [len(node.log) for node in served.nodes]
    yield
    for node, length in zip(served.nodes, before, strict=True):
        print(f"--- {node.name}", node.log[length:], sep="\n")


async def dies(group: Group, primary: int, replica: int) -> None:
    """With a sentinel on the same machine, and ahead of its replica: more than a heartbeat's writes are lost."""
    await asyncio.to_thread(group.cut_off, replica)
    await asyncio.sleep(1.5)
    with_it = group.sentinels[:1]
    for port in (primary, *with_it):
        await asyncio.to_thread(group.kill, port)
    await asyncio.to_thread(group.wait_until_primary, replica)
    for port in (primary, *with_it):
        await asyncio.to_thread(group.start_again, port, replica)
    await asyncio.to_thread(group.reconnect, replica)


async def is_relieved(group: Group, primary: int, replica: int) -> None:
    """By its operator, while it is well."""
    await asyncio.to_thread(group.hand_over, replica)
    await asyncio.to_thread(group.wait_until_primary, replica)


async def freezes(group: Group, primary: int, replica: int) -> None:
    """And goes on when another has taken its place: it believes to be the primary, and has old data."""
    group.freeze(primary)
    try:
        await asyncio.to_thread(group.wait_until_primary, replica)
        await asyncio.sleep(1)  # in which its old data become older
    finally:
        group.thaw(primary)


@pytest.mark.parametrize("befalls", [dies, is_relieved, freezes])
async def test_no_client_notices_that_the_primary(befalls: Befalls, served: Served, raw: RawClient) -> None:
    await served.until_whole()
    primary = await asyncio.to_thread(served.group.primary_of, LEASES)
    await check(befalls, primary, served, raw)


@pytest.mark.parametrize("befalls", [dies])
async def test_nor_that_one_with_sessions_alone(befalls: Befalls, served: Served, raw: RawClient) -> None:
    """In a cluster most of the records are on other servers than the leases."""
    if served.group.sentinels:
        return
    await served.until_whole()
    other = await asyncio.to_thread(served.group.primary_of, LEASES)
    primary = await asyncio.to_thread(served.group.another_primary, other)
    await check(befalls, primary, served, raw)


async def test_what_a_new_primary_lacks_is_on_record_again_though_nobody_calls(served: Served, raw: RawClient) -> None:
    """In a cluster whose other servers go on meanwhile: no heartbeat fails."""
    if served.group.sentinels:
        return
    await served.until_whole()
    other = await asyncio.to_thread(served.group.primary_of, LEASES)
    primary = await asyncio.to_thread(served.group.another_primary, other)
    replica = await asyncio.to_thread(served.group.replica_of, primary)
    await served.until_well(raw)
    served.group.everywhere("config", "set", "cluster-require-full-coverage", "no")
    await asyncio.to_thread(served.group.cut_off, replica)
    book = Book(raw, served.nodes, served.path)
    for node in 5 * served.nodes:
        await book.open(node.url)
    await dies(served.group, primary, replica)
    await served.until_whole()
    await until(lambda: served.has_all(book), what="all sessions to be on record")


async def check(befalls: Befalls, primary: int, served: Served, raw: RawClient) -> None:
    replica = await asyncio.to_thread(served.group.replica_of, primary)
    await served.until_well(raw)
    owners = await served.owners(raw)
    book = Book(raw, served.nodes, served.path)
    async with book.load():
        await book.more(100)
        await befalls(served.group, primary, replica)
        await served.until_well(raw)
        await book.more(100)
    if befalls is is_relieved:
        await served.until_whole()
    await served.until_well(raw)
    for session in book.sessions:
        for node in served.nodes:
            await book.call(session, node.url)
    assert book.failures == []
    assert book.carried_out() == dict.fromkeys(book.entries, 1)
    assert await served.owners(raw) == owners
    # What the new primary lacked is written again, a part at a time, with each of the primaries that follow in a row.
    await until(lambda: served.has_all(book), what="all sessions to be on record, and none that was closed")
