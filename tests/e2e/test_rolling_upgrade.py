"""Nodes of the last release and of this working tree in one cluster, as an upgrade node by node has them for a while.

What they tell each other is held to: forwarded requests and their answers, leases, owners and session records. What the
last release does wrong by itself is not.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.bare import ROOT
from tests.e2e.book import Book
from tests.e2e.clusters import environment
from tests.e2e.nodes import ServedNode
from tests.e2e.releases import last_release
from tests.node.rpc import RawClient
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

NEW = ROOT / "src"
TARGET = "tests/servers/entries.py:server"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return last_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
async def redis() -> AsyncIterator[RealRedis]:
    async with real_redis() as server:
        yield server


class Cluster:
    """Nodes that come and go.

    Attributes:
        nodes: those that run.
        book: that they share, and the clients' own.
    """

    def __init__(self, redis: RealRedis, raw: RawClient, folder: Path) -> None:
        self._raw = raw
        self._folder = folder
        path = folder / "entries"
        self._variables = {"ENTRIES": str(path), "MOORING_REDIS_URL": redis.url, "MOORING_LEASE_SECONDS": "3"}
        self.nodes: list[ServedNode] = []
        self.book = Book(raw, self.nodes, path)

    async def start(self, **sources: Path) -> list[ServedNode]:
        """One node of each name; returns once all nodes know them."""
        started = [ServedNode(name, TARGET, self._folder, self._variables, src) for name, src in sources.items()]
        self.nodes += started
        for node in started:
            await asyncio.to_thread(node.wait_until_ready)
        await until(self._all_know_all, what="all nodes to know all")
        return started

    async def _all_know_all(self) -> bool:
        pages = [await node.status(self._raw) for node in self.nodes]
        ready = [sorted(node["name"] for node in page["nodes"] if node["state"] == "ready") for page in pages]
        return ready == [sorted(node.name for node in self.nodes)] * len(self.nodes)

    async def stop(self, node: ServedNode, how: signal.Signals) -> None:
        self.nodes.remove(node)
        await asyncio.to_thread(node.stop, how)


@pytest.fixture
async def cluster(redis: RealRedis, raw: RawClient, tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(redis, raw, tmp_path)
    yield made
    for node in list(made.nodes):
        print(f"--- {node.name}", node.log, sep="\n")
        await made.stop(node, signal.SIGTERM)


def ids_told_by(source: Path, redis: RealRedis) -> set[str]:
    """The sessions that a command of that version lists; the last release knew no other ids than whole ones."""
    whole = ("--whole-ids",) if source == NEW else ()
    return {session["id"] for session in told_by(source, redis, "sessions", *whole)["sessions"]}


def told_by(source: Path, redis: RealRedis, *command: str) -> Any:
    """What a command of that version prints as JSON."""
    variables = {"MOORING_REDIS_URL": redis.url, "PYTHONPATH": f"{source}"}
    printed = subprocess.run(
        [sys.executable, "-m", "mooring", *command, "--json"],
        env=environment() | variables,
        capture_output=True,
        check=True,
        timeout=30,
    )
    return json.loads(printed.stdout)


async def test_each_serves_the_others_sessions(old: Path, redis: RealRedis, raw: RawClient, cluster: Cluster) -> None:
    nodes, book = await cluster.start(old=old, new=NEW), cluster.book
    async with book.load():
        await book.more(300)
    for session in book.sessions:
        for node in nodes:
            await book.call(session, node.url)
    assert book.failures == []
    assert book.carried_out() == dict.fromkeys(book.entries, 1)
    for source in (old, NEW):
        status = await asyncio.to_thread(told_by, source, redis, "status")
        assert {node["name"]: node["state"] for node in status["nodes"]} == {"old": "ready", "new": "ready"}
        assert await asyncio.to_thread(ids_told_by, source, redis) == set(book.sessions)
    pages = [await node.status(raw) for node in nodes]
    assert all(page["counters"]["forwarded_in"] > 20 for page in pages)
    assert all(page["counters"]["refused"] == {} for page in pages)


@pytest.mark.parametrize("dies", ["old", "new"])
async def test_one_outlives_the_other(dies: str, old: Path, redis: RealRedis, raw: RawClient, cluster: Cluster) -> None:
    nodes, book = await cluster.start(old=old, new=NEW), cluster.book
    opened = {node.name: [await book.open(node.url) for _ in range(4)] for node in nodes}
    lost = opened.pop(dies)
    dead, alive = sorted(nodes, key=lambda node: node.name != dies)
    await cluster.stop(dead, signal.SIGKILL)
    for session in lost:
        reply = await raw.call(alive.url, session)
        if dies == "new":  # the last release opens none again
            assert (reply.status, reply.reason) == (404, "owner_lost")
            del book.sessions[session]
        else:
            await book.call(session, alive.url)
    for session in opened.popitem()[1]:
        await book.call(session, alive.url)
    await book.call(await book.open(alive.url), alive.url)
    for source in (old, NEW):
        assert await asyncio.to_thread(ids_told_by, source, redis) == set(book.sessions)


async def test_a_cluster_is_upgraded_node_by_node(old: Path, raw: RawClient, cluster: Cluster) -> None:
    """The sessions of a node end with it where the last release alone is left, and else go on; the others notice
    nothing."""
    names = ("a", "b")
    nodes, book = await cluster.start(**dict.fromkeys(names, old)), cluster.book
    live = {node.name: [await book.open(node.url) for _ in range(3)] for node in nodes}
    for name in names:
        before = next(node for node in nodes if node.name == name)
        await cluster.stop(before, signal.SIGTERM)
        for session in live.pop(name):
            reply = await raw.call(cluster.nodes[0].url, session)
            if name == names[0]:
                assert (reply.status, reply.reason) == (404, "owner_lost")
            else:
                assert (reply.status, reply.json["result"]) == (200, {})
        [node] = await cluster.start(**{name: NEW})
        live[name] = [await book.open(node.url) for _ in range(3)]
        for sessions in live.values():
            for session in sessions:
                for anywhere in cluster.nodes:
                    await book.call(session, anywhere.url)
    assert book.carried_out() == dict.fromkeys(book.entries, 1)
