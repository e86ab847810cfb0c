"""Nodes that lose Redis, each other, or time: one alone, and all. The judge is the servers' own book.

Each node has a link of its own to Redis, which can be cut, and is reached by its peers through another.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.bare import ROOT, free_port
from tests.e2e.cuttable import Link, State, link
from tests.e2e.load import VERSION, open_session
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient, Reply
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

LEASE_SECONDS: Final = 1.5
FAST: Final = {"HEARTBEAT": 0.3, "LEASE": LEASE_SECONDS, "REDIS_TIMEOUT": 0.25, "CONNECT": 0.25, "HOLD": 8}
CUTS: Final[tuple[State, ...]] = ("silent", "refused")


@dataclass
class Nodes:
    """
    Attributes:
        to_redis: each node's own link.
        to_node: how peers reach each of them.
        book: where the servers write down what they carry out.
    """

    served: list[ServedNode]
    to_redis: list[Link]
    to_node: list[Link]
    book: Path

    def entries(self) -> list[str]:
        return self.book.read_text().split() if self.book.exists() else []

    async def healths(self, raw: RawClient) -> list[int]:
        return [(await raw.send("GET", f"{node.url}/healthz")).status for node in self.served]

    async def until_well(self, raw: RawClient) -> None:
        async def well() -> bool:
            pages = [await node.status(raw) for node in self.served]
            return all([node["state"] for node in page["nodes"]] == ["ready"] * len(self.served) for page in pages)

        await until(well, what="all nodes to be ready, as all see it", seconds=20)


@contextlib.asynccontextmanager
async def nodes(count: int, folder: Path, raw: RawClient, own: Mapping[str, str] | None = None) -> AsyncIterator[Nodes]:
    """So many, which know each other."""
    names = [f"n{number}" for number in range(count)]
    book = folder / "book"
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(real_redis())
        to_redis = [await stack.enter_async_context(link(redis.url)) for _ in names]
        ports = {name: free_port() for name in names}
        to_node = [await stack.enter_async_context(link(f"http://127.0.0.1:{port}")) for port in ports.values()]
        variables = {"ENTRIES": str(book), **{f"MOORING_{name}_SECONDS": str(value) for name, value in FAST.items()}}
        each = {
            name: {
                "MOORING_REDIS_URL": f"redis://127.0.0.1:{redis_link.port}",
                "MOORING_ADVERTISE_URL": f"http://127.0.0.1:{node_link.port}",
            }
            for name, redis_link, node_link in zip(names, to_redis, to_node, strict=True)
        }
        sources = dict.fromkeys(names, ROOT / "src")
        variables |= own or {}
        running = serving_nodes("tests/servers/entries.py:server", variables, sources, each, ports)
        # They start in this thread, and want the links, which are served in it too.
        served = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        cluster = Nodes(served, to_redis, to_node, book)
        try:
            await cluster.until_well(raw)
            yield cluster
        finally:  # shown with a test that fails
            for node in served:
                print(f"--- {node.name}", node.log, sep="\n")


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield RawClient(http)


async def enter(raw: RawClient, base: str, session: str, entry: str) -> Reply:
    return await call(raw, base, session, "enter", {"entry": entry})


async def call(raw: RawClient, base: str, session: str, tool: str, arguments: Mapping[str, Any]) -> Reply:
    body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    return await raw.call(base, session, body=body, headers=VERSION)


async def shards_of(raw: RawClient, node: ServedNode) -> dict[str, list[str]]:
    """Whose each shard is, as this node sees it."""
    return {each["name"]: each["shards"] for each in (await node.status(raw))["nodes"]}


def counted(reply: Reply) -> int:
    assert reply.status == 200, reply
    assert "result" in reply.json, reply
    return int(reply.json["result"]["content"][0]["text"])


@pytest.mark.parametrize("how", CUTS)
async def test_one_that_is_cut_off_from_redis_stops_and_its_peers_go_on(
    raw: RawClient, tmp_path: Path, how: State
) -> None:
    async with nodes(3, tmp_path, raw) as cluster:
        cut_off, peer, third = cluster.served
        its, peers = [await open_session(raw, node.url) for node in (cut_off, peer)]
        assert counted(await enter(raw, peer.url, its, "before")) == 1
        cluster.to_redis[0].cut(how)

        async def has_stopped() -> bool:
            return await cluster.healths(raw) == [503, 200, 200]

        await until(has_stopped, what="the cut-off node to fail its health check", seconds=15)
        # What arrives there is passed to a peer, and works: sessions of others, and new ones.
        assert counted(await enter(raw, cut_off.url, peers, "passed-on")) == 1
        new = await open_session(raw, cut_off.url)
        assert counted(await enter(raw, cut_off.url, new, "new")) == 1
        shards = await shards_of(raw, peer)
        assert new[:5] in shards[peer.name] + shards[third.name]
        # Its own session is adopted by whoever is asked for it, and is carried out nowhere.
        replies = [await enter(raw, base, its, "after") for base in (cut_off.url, peer.url, cut_off.url)]
        assert {reply.status for reply in replies} == {404}, replies
        assert "after" not in cluster.entries()
        assert sorted(cluster.entries()) == ["before", "new", "passed-on"]
        cluster.to_redis[0].mend()
        await cluster.until_well(raw)
        assert await cluster.healths(raw) == [200, 200, 200]
        back = await open_session(raw, cut_off.url)
        assert counted(await enter(raw, peer.url, back, "back")) == 1
        assert counted(await enter(raw, cut_off.url, new, "new-again")) == 2


@pytest.mark.parametrize("how", CUTS)
async def test_one_that_comes_back_before_anybody_took_its_sessions_goes_on_with_them(
    raw: RawClient, tmp_path: Path, how: State
) -> None:
    async with nodes(2, tmp_path, raw) as cluster:
        cut_off, peer = cluster.served
        its = await open_session(raw, cut_off.url)
        assert counted(await enter(raw, peer.url, its, "one")) == 1
        cluster.to_redis[0].cut(how)

        async def has_stopped() -> bool:
            return await cluster.healths(raw) == [503, 200]

        await until(has_stopped, what="the cut-off node to fail its health check", seconds=15)
        cluster.to_redis[0].mend()
        await cluster.until_well(raw)
        assert counted(await enter(raw, peer.url, its, "two")) == 2


@pytest.mark.parametrize("how", CUTS)
async def test_while_redis_is_away_for_all_everybody_goes_on(raw: RawClient, tmp_path: Path, how: State) -> None:
    async with nodes(3, tmp_path, raw) as cluster:
        sessions = [await open_session(raw, node.url) for node in cluster.served]
        for redis_link in cluster.to_redis:
            redis_link.cut(how)
        ends = asyncio.get_running_loop().time() + 4 * LEASE_SECONDS
        calls = 0
        while asyncio.get_running_loop().time() < ends:
            calls += 1
            for number, session in enumerate(sessions):
                node = cluster.served[(number + calls) % len(cluster.served)]
                assert counted(await enter(raw, node.url, session, f"{number}-{calls}")) == calls
            assert await cluster.healths(raw) == [200, 200, 200]
        meanwhile = await open_session(raw, cluster.served[1].url)
        for redis_link in cluster.to_redis:
            redis_link.mend()
        await cluster.until_well(raw)
        for session in sessions:
            assert counted(await enter(raw, cluster.served[0].url, session, "after")) == calls + 1
        assert counted(await enter(raw, cluster.served[2].url, meanwhile, "meanwhile")) == 1
        entries = [entry for entry in cluster.entries() if entry != "after"]
        assert len(entries) == len(set(entries)) == 3 * calls + 1


@pytest.mark.parametrize("choice", ["stop", "go_on"])
async def test_one_that_nobody_answers_does_as_its_operator_chose(raw: RawClient, tmp_path: Path, choice: str) -> None:
    async with nodes(2, tmp_path, raw, {"MOORING_WHEN_ISOLATED": choice, "MOORING_HOLD_SECONDS": "1"}) as cluster:
        isolated, peer = cluster.served
        its = await open_session(raw, isolated.url)
        cluster.to_redis[0].cut()
        for node_link in cluster.to_node:
            node_link.cut()

        async def has_said_so() -> bool:
            return "neither the store nor enough peers answer" in isolated.log

        await until(has_said_so, what="the isolated node to say so", seconds=15)
        if choice == "go_on":
            for number in range(1, 20):
                assert counted(await enter(raw, isolated.url, its, f"alone-{number}")) == number
                await asyncio.sleep(0.15)
            assert await cluster.healths(raw) == [200, 200]
            return

        async def has_stopped() -> bool:
            return await cluster.healths(raw) == [503, 200]

        await until(has_stopped, what="the isolated node to fail its health check", seconds=15)
        reply = await enter(raw, isolated.url, its, "isolated")
        assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 9)
        assert cluster.entries() == []
        cluster.to_redis[0].mend()
        for node_link in cluster.to_node:
            node_link.mend()
        await cluster.until_well(raw)
        assert counted(await enter(raw, peer.url, its, "back")) == 1


async def test_one_that_was_stopped_for_longer_than_its_lease_serves_nothing_of_what_it_lost(
    raw: RawClient, tmp_path: Path
) -> None:
    async with nodes(2, tmp_path, raw) as cluster:
        paused, peer = cluster.served
        its = await open_session(raw, paused.url)
        listening = asyncio.create_task(raw.send("GET", f"{paused.url}/mcp", session=its, headers=VERSION))
        running = asyncio.create_task(call(raw, paused.url, its, "wait", {"entry": "running", "seconds": 60}))

        async def has_begun() -> bool:
            return "running-begun" in cluster.entries()

        await until(has_begun, what="the call to run")
        paused.process.send_signal(signal.SIGSTOP)
        at_the_paused = asyncio.create_task(enter(raw, paused.url, its, "at-the-paused"))
        taken = await enter(raw, peer.url, its, "at-the-peer")
        assert (taken.status, taken.reason) == (404, "owner_lost")
        paused.process.send_signal(signal.SIGCONT)
        assert (await at_the_paused).status == 404
        ended = await running
        assert (ended.status, ended.json["id"]) == (200, 9)
        assert ended.reason == "unreachable"
        assert (await listening).body.endswith(b"retry: 3000\n\n")

        async def is_cancelled() -> bool:
            return "running-cancelled" in cluster.entries()

        await until(is_cancelled, what="the call to be cancelled")
        assert cluster.entries() == ["running-begun", "running-cancelled"]
        await cluster.until_well(raw)


async def test_one_that_was_stopped_while_redis_went_away_waits_to_be_told(raw: RawClient, tmp_path: Path) -> None:
    """Its own clock says that its lease is over, and Redis says nothing: its peers do."""
    async with nodes(3, tmp_path, raw) as cluster:
        paused, peer, _ = cluster.served
        its = await open_session(raw, paused.url)
        paused.process.send_signal(signal.SIGSTOP)
        for redis_link in cluster.to_redis:
            redis_link.cut()
        await asyncio.sleep(2 * LEASE_SECONDS)
        paused.process.send_signal(signal.SIGCONT)
        assert counted(await enter(raw, paused.url, its, "told")) == 1
        assert counted(await enter(raw, peer.url, its, "told-too")) == 2
