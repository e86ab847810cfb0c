"""Nodes that reach Redis and no other node: what lands on the wrong one goes to its owner through Redis.

Their addresses lead nowhere, and HAProxy sends each request to any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bare import ROOT
from tests.clients.programs import CLIENTS, run_client
from tests.deployments.haproxy import running_haproxy
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient, Reply
from tests.ports import free_port
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

FAST = {"HEARTBEAT": 0.2, "LEASE": 1.5, "REDIS_TIMEOUT": 0.4, "CONNECT": 0.3, "HOLD": 8}


@dataclass
class Apart:
    served: list[ServedNode]
    redis: RealRedis
    ports: list[int]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]


@contextlib.asynccontextmanager
async def nodes_apart(target: str, count: int = 3, **variables: str) -> AsyncIterator[Apart]:
    async with real_redis() as redis:
        names = [f"n{number}" for number in range(count)]
        ports = {name: free_port() for name in names}
        told = {
            "MOORING_REDIS_URL": redis.url,
            "MOORING_PEER_LINK": "redis",
            **{f"MOORING_{name}_SECONDS": str(value) for name, value in FAST.items()},
            **variables,
        }
        # Of a network for documentation (RFC 5737).
        own = {name: {"MOORING_ADVERTISE_URL": f"http://192.0.2.1:{port}"} for name, port in ports.items()}
        running = serving_nodes(target, told, dict.fromkeys(names, ROOT / "src"), own, ports)
        served = await asyncio.to_thread(running.__enter__)
        try:
            yield Apart(served, redis, list(ports.values()))
        finally:
            for node in served:
                print(f"--- {node.name}", node.log, sep="\n")
            await asyncio.to_thread(running.__exit__, None, None, None)


async def test_all_clients_are_served_by_nodes_that_reach_redis_alone(raw: RawClient) -> None:
    async with nodes_apart("tests/servers/everything_v2.py:app") as apart:
        async with running_haproxy(apart.urls, "balance random(1)") as url:
            for client in CLIENTS:
                report = await run_client(client, f"{url}/mcp", "--no-cookies", "--sessions", "2", "--calls", "3")
                assert (report.failures, report.ok, report.sessions) == ([], True, 2), client
        figures = [await node.status(raw) for node in apart.served]
        # Of so few sessions one node may have none.
        assert sum(figure["counters"]["forwarded_in"] > 0 for figure in figures) >= 2


ENTRIES = "tests/servers/entries.py:server"


async def entered(raw: RawClient, url: str, session: str, entry: str, tool: str = "enter", **more: object) -> Reply:
    params = {"name": tool, "arguments": {"entry": entry, **more}}
    body = {"jsonrpc": "2.0", "id": entry, "method": "tools/call", "params": params}
    return await raw.call(url, session, body=body)


def result_of(reply: Reply) -> str:
    assert reply.status == 200, reply.body
    assert "result" in reply.json, reply.json
    return str(reply.json["result"]["content"][0]["text"])


async def test_neither_a_drain_nor_a_kill_loses_a_call_or_has_one_carried_out_twice(
    raw: RawClient, tmp_path: Path
) -> None:
    book = tmp_path / "book"
    async with nodes_apart(ENTRIES, ENTRIES=str(book), MOORING_INGRESS_SECONDS="0.3") as apart:
        entries = await outlived_drain(raw, apart, book)
        entries += await outlived_kill(raw, apart, book)
        assert sorted(noted_in(book)) == sorted(entries)


async def outlived_drain(raw: RawClient, apart: Apart, book: Path) -> list[str]:
    """Clients call without a pause while the first node is stopped; returns what they have asked for."""
    first, other, _ = apart.urls
    sessions = [await raw.open(first) for _ in range(6)]
    has_stopped = asyncio.Event()

    async def call(session: str, number: int) -> int:
        calls = 0
        while not has_stopped.is_set():
            result_of(await entered(raw, other, session, f"s{number}-{calls}"))
            calls += 1
        return calls

    calling = [asyncio.ensure_future(call(session, number)) for number, session in enumerate(sessions)]
    await until_noted(book, "s0-3")
    await asyncio.to_thread(apart.served[0].stop)
    has_stopped.set()
    counts = await asyncio.gather(*calling)
    return [f"s{number}-{call}" for number, count in enumerate(counts) for call in range(count)]


async def outlived_kill(raw: RawClient, apart: Apart, book: Path) -> list[str]:
    """One of the others is killed while a call runs there, and more come; returns what was asked for."""
    session = await raw.open(apart.urls[1])
    pages = [await node.status(raw) for node in apart.served[1:]]
    shards = [next(node["shards"] for node in page["nodes"] if node["id"] == page["node"]) for page in pages]
    owner, other = (1, 2) if session.partition(".")[0] in shards[0] else (2, 1)
    url = apart.urls[other]
    assert [result_of(await entered(raw, url, session, f"e{n}")) for n in range(3)] == ["1", "2", "3"]
    running = asyncio.ensure_future(entered(raw, url, session, "long", "wait", seconds=60))
    await until_noted(book, "long-begun")
    apart.served[owner].process.kill()
    # They lie unread in the dead node's mailbox: so nothing of them was carried out there.
    after = await asyncio.gather(*(entered(raw, url, session, f"after{n}") for n in range(5)))
    assert sorted(map(result_of, after)) == ["1", "2", "3", "4", "5"]
    broke_off = (await running).body  # its client comes back, with the last id that it has seen
    came_back = {"last-event-id": broke_off.rpartition(b"id: ")[2].split()[0].decode()}
    told = await raw.send("GET", f"{url}/mcp", session=session, headers=came_back)
    assert b"outcome_unknown" in told.body
    return ["e0", "e1", "e2", "long-begun", *(f"after{n}" for n in range(5))]


def noted_in(book: Path) -> list[str]:
    return book.read_text().split() if book.exists() else []


async def until_noted(book: Path, entry: str) -> None:
    async def noted() -> bool:
        return entry in noted_in(book)

    await until(noted, what=f"{entry} to be carried out")


async def test_auto_finds_out_who_is_not_reached(raw: RawClient, tmp_path: Path) -> None:
    own = {"MOORING_PEER_LINK": "auto", "ENTRIES": str(tmp_path / "book")}
    async with nodes_apart(ENTRIES, 2, **own) as apart:
        first, other = apart.urls
        session = await raw.open(first)
        assert result_of(await entered(raw, other, session, "e")) == "1"

        async def told() -> bool:
            nodes = (await apart.served[0].status(raw))["nodes"]
            relayed = [[peer.partition("-")[0] for peer in node["relayed_to"]] for node in nodes]
            return bool(relayed == [[], ["n0"]])

        await until(told, what="word of it with the heartbeat")


async def test_sessions_go_on_when_redis_was_away_for_longer_than_a_lease(raw: RawClient, tmp_path: Path) -> None:
    async with nodes_apart(ENTRIES, 2, ENTRIES=str(tmp_path / "book")) as apart:
        first, other = apart.urls
        session = await raw.open(first)
        assert result_of(await entered(raw, other, session, "before")) == "1"

        async def acquainted() -> bool:
            pages = [await node.status(raw) for node in apart.served]
            return all(len(page["nodes"]) == 2 for page in pages)

        await until(acquainted, what="the nodes to know each other")
        apart.redis.freeze()

        async def isolated() -> bool:
            return (await raw.send("GET", f"{first}/healthz")).status == 503

        try:
            # Nobody can be asked, so each stops (when_isolated) and none can know better.
            await until(isolated, what="a node to stop")
        finally:
            apart.redis.thaw()

        async def served() -> str:
            reply = await entered(raw, other, session, "after")
            return result_of(reply) if "result" in reply.json else ""

        assert await until(served, what="the session to go on") == "2"
