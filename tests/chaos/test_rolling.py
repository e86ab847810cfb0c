"""All nodes are replaced under load, and nobody notices: no call fails, none is doubled, no event is lost.

With CLIENTS=300 ROLLS=2 CALLS=3000 in the environment the first of these tests is at full size.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.bare import ROOT
from tests.chaos.balancer import balancing
from tests.chaos.clients import calling, more_calls, through
from tests.clients.driving import PATIENCE_SECONDS, driven_client
from tests.clients.programs import CLIENTS as CLIENTS_UNCHANGED
from tests.e2e.clusters import Cluster, child, environment, running_cluster
from tests.e2e.nodes import ServedNode
from tests.node.rpc import RawClient
from tests.ports import free_ports
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

SERVER = "tests/servers/ledger_v2.py:server"
CLIENTS = int(os.environ.get("CLIENTS", "24"))
ROLLS = int(os.environ.get("ROLLS", "1"))
MANY = max(40, CLIENTS)
"""Enough for five nodes: with fewer sessions none is worth a move."""
CALLS = int(os.environ.get("CALLS", "60"))
"""Before, between and after what happens to the nodes."""
NEVER = 10_000
SILENT_SECONDS = 2.0


async def mooring(cluster: Cluster, *arguments: str) -> str:
    """What a command on this cluster prints; it has to end well."""
    command = [sys.executable, "-m", "mooring", *arguments, "--run-dir", str(cluster.run_dir)]
    ended = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=150
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{cluster.log[-5000:]}"
    return ended.stdout


async def test_three_nodes_are_replaced_and_one_is_drained(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    with running_cluster("v2", target=SERVER, variables={"LEDGER": str(ledger)}) as cluster:
        async with calling(partial(through, cluster.url), ledger, CLIENTS) as callers:
            for _ in range(ROLLS):
                await more_calls(callers, CALLS)
                before = {node["id"] for node in cluster.nodes()}
                said = await mooring(cluster, "roll")
                assert "replaced 3 nodes in" in said
                nodes = await cluster.until_nodes(3)
                assert before.isdisjoint(node["id"] for node in nodes)
            await more_calls(callers, CALLS)

            said = await mooring(cluster, "drain", "node-2", "--wait")
            assert "node-2 draining: 0 sessions in 0 shards" in said
            await more_calls(callers, CALLS)
            drained = next(node for node in cluster.status()["nodes"] if node["name"] == "node-2" and node["alive"])
            assert (drained["state"], drained["sessions"], drained["shards"]) == ("draining", 0, [])
        assert (callers.book.unknown, callers.book.cut) == (set(), {})
        assert sum(node["revived"] for node in cluster.nodes()) >= CLIENTS


async def test_what_each_client_sees_of_a_roll_in_the_middle_of_its_calls(tmp_path: Path) -> None:
    """Calls that end in time end where they began; of those that do not, what changes nothing is carried out again."""
    ledger = tmp_path / "ledger"
    ledger.touch()
    variables = {"LEDGER": str(ledger), "MOORING_DRAIN_SECONDS": "8", "MOORING_INGRESS_SECONDS": "1"}
    with running_cluster("v2", target=SERVER, variables=variables) as cluster:
        async with contextlib.AsyncExitStack() as stack:
            started = [driven_client(name, cluster.url) for name in CLIENTS_UNCHANGED for _ in range(2)]
            clients = await asyncio.gather(*(stack.enter_async_context(one) for one in started))
            pairs = list(zip(CLIENTS_UNCHANGED, clients[::2], clients[1::2], strict=True))
            await asyncio.gather(*(client.first("open") for client in clients))
            for client in clients:
                assert await client.asked("where")
            calls = {}
            for name, client, asked in pairs:
                asked.order({"user": "leaves"})
                calls[name] = {
                    "short": client.call("work", entry=f"short-{name}", steps=25),
                    "long": client.call("work", entry=f"long-{name}", steps=NEVER),
                    "look": client.call("look", entry=f"look-{name}", steps=60),
                    "ask": asked.call("ask", entry=f"ask-{name}"),
                }
                for what in calls[name]:
                    await begun(ledger, f"{what}-{name}")

            rolling = asyncio.create_task(mooring(cluster, "roll"))
            await until_it_drains(cluster.nodes()[0])
            for _, _, asked in pairs:
                asked.order({"user": "comes"})
            for name, client, asked in pairs:
                assert (await asked.outcome(calls[name]["ask"]))["text"] == f"ask-{name}"
                assert (await client.outcome(calls[name]["short"]))["text"] == f"short-{name}"
                assert (await client.outcome(calls[name]["look"]))["text"] == f"look-{name}"
                outcome = await client.outcome(calls[name]["long"])
                assert (outcome["saw"], outcome.get("reason")) == ("error", "outcome_unknown"), outcome
            assert "replaced 3 nodes in" in await rolling
            for _, client, asked in pairs:
                for one in (client, asked):
                    assert await one.asked("where")
                    assert {number: len(one.outcomes(number)) for number in one.called} == dict.fromkeys(one.called, 1)
                    for number in one.called:
                        seen = one.progress(number)
                        assert seen == sorted(set(seen)), seen
    begins = Counter(line for line in ledger.read_text().splitlines() if line.startswith("begins"))
    assert {line for line, times in begins.items() if times > 1 and "look" not in line} == set()


async def begun(ledger: Path, entry: str) -> None:
    async def has_begun() -> bool:
        return f"begins {entry}\n" in await asyncio.to_thread(ledger.read_text)

    await until(has_begun, what=f"{entry} to begin", seconds=PATIENCE_SECONDS)


async def test_a_node_that_is_killed_while_it_drains_and_one_that_drains_while_redis_is_silent(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    variables = {"LEDGER": str(ledger), "MOORING_DRAIN_SECONDS": "20"}
    with running_cluster("v2", target=SERVER, variables=variables) as cluster:
        async with calling(partial(through, cluster.url), ledger, 40) as callers:
            await more_calls(callers, 100)
            first, second = cluster.nodes()[:2]
            os.kill(first["pid"], signal.SIGTERM)
            await until_it_drains(first)
            os.kill(first["pid"], signal.SIGKILL)
            await more_calls(callers, 100)
            await cluster.until_nodes(3)

            unknown, cut = set(callers.book.unknown), dict(callers.book.cut)
            redis = child(cluster, "redis-server", "valkey-server")
            os.kill(second["pid"], signal.SIGTERM)
            await until_it_drains(second)
            redis.suspend()
            await asyncio.sleep(SILENT_SECONDS)  # that long nobody hears from it
            redis.resume()
            await more_calls(callers, 200)
            nodes = await cluster.until_nodes(3)
            assert {first["id"], second["id"]}.isdisjoint(node["id"] for node in nodes)
        # What was under way when one was killed may be unknown; a silent Redis costs time, and no call.
        assert (callers.book.unknown, callers.book.cut) == (unknown, cut)


async def until_it_drains(node: Mapping[str, Any]) -> None:
    """Asked of the node itself: it may have done in less time than a command takes."""
    async with aiohttp.ClientSession() as http:

        async def drains() -> bool:
            async with http.get(f"{node['url']}/readyz") as answer:
                return answer.status == 503

        await until(drains, what="the node to drain", seconds=PATIENCE_SECONDS)


async def test_three_nodes_become_five_and_then_two(tmp_path: Path) -> None:
    """New ones get their part of the sessions, and three that go at once leave them all to the others."""
    ledger = tmp_path / "ledger"
    ledger.touch()
    ports = free_ports(5)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with real_redis() as redis, aiohttp.ClientSession() as http:
        raw = RawClient(http)
        variables = {
            "LEDGER": str(ledger),
            "MOORING_REDIS_URL": redis.url,
            "MOORING_REBALANCE": "idle_sessions",
        }
        with contextlib.ExitStack() as running:
            nodes: list[ServedNode] = []

            async def start(*added: int) -> None:
                for port in added:
                    node = ServedNode(f"n{port}", SERVER, tmp_path, variables, ROOT / "src", port, stop_seconds=10)
                    running.callback(node.stop)
                    nodes.append(node)
                await asyncio.gather(*(asyncio.to_thread(node.wait_until_ready) for node in nodes))

            async def sessions() -> list[int]:
                pages = [await node.status(raw) for node in nodes if node.process.poll() is None]
                return [node["sessions"] for page in pages for node in page["nodes"] if node["id"] == page["node"]]

            async def all_have_some() -> bool:
                return min(await sessions()) > 0

            await start(*ports[:3])
            async with balancing(urls) as connection, calling(connection, ledger, MANY) as callers:
                await more_calls(callers, 100)
                await start(*ports[3:])
                # What is idle at this moment moves; of clients that call without pause, that is a part.
                await until(all_have_some, what="new nodes to have their part")
                await more_calls(callers, 100)
                await asyncio.gather(*(asyncio.to_thread(node.stop) for node in nodes[2:]))
                assert [node.process.returncode for node in nodes[2:]] == [0, 0, 0], nodes[2].log
                await more_calls(callers, 100)
                assert sum(await sessions()) == MANY
            assert (callers.book.unknown, callers.book.cut) == (set(), {})
