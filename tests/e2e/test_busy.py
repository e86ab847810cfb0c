"""A node whose event loop is blocked is busy, and not dead: its peers wait for it, and its sessions go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.e2e.clusters import Cluster, running_cluster
from tests.e2e.load import VERSION, count, open_session
from tests.node.rpc import RawClient
from tests.waiting import until

pytestmark = pytest.mark.real

LEASE_SECONDS, HANG_SECONDS = 2.0, 12.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    fast = {"HEARTBEAT": 0.3, "LEASE": LEASE_SECONDS, "HANG": HANG_SECONDS, "HOLD": 30}
    variables = {f"MOORING_{name}_SECONDS": str(seconds) for name, seconds in fast.items()}
    with running_cluster("v1", target="tests/servers/busy_v1.py:server", nodes=2, variables=variables) as running:
        yield running


async def block(raw: RawClient, url: str, session: str, seconds: float) -> None:
    body = {"name": "block", "arguments": {"seconds": seconds}}
    await raw.call(
        url, session, body={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": body}, headers=VERSION
    )


async def two_of_one_node(cluster: Cluster, raw: RawClient) -> tuple[list[str], str, str]:
    """Two sessions of one node, that node's id, and the other node's URL."""
    first, other = await cluster.until_nodes(2)
    sessions = [await open_session(raw, first["url"]) for _ in range(2)]
    return sessions, first["id"], other["url"]


async def test_a_blocked_loop_costs_time_and_nothing_else(cluster: Cluster, raw: RawClient) -> None:
    (busy, waiting), node_id, other_url = await two_of_one_node(cluster, raw)
    assert await count(raw, other_url, waiting) == 1
    began = time.monotonic()
    blocking = asyncio.create_task(block(raw, other_url, busy, 4 * LEASE_SECONDS))
    await asyncio.sleep(0.3)  # nothing tells from outside when a loop that answers nothing has begun to block
    counting = asyncio.create_task(count(raw, other_url, waiting))
    while not blocking.done():
        states = {node["id"]: node["state"] for node in (await asyncio.to_thread(cluster.status))["nodes"]}
        assert states[node_id] == "ready", f"after {time.monotonic() - began:.1f} s"
    await blocking
    assert await counting == 2
    assert time.monotonic() - began >= 4 * LEASE_SECONDS
    assert await count(raw, other_url, waiting) == 3
    assert await count(raw, other_url, busy) == 1


async def test_a_loop_that_stays_silent_hangs_and_its_lease_ends(cluster: Cluster, raw: RawClient) -> None:
    (busy, _), node_id, other_url = await two_of_one_node(cluster, raw)
    began = time.monotonic()
    blocking = asyncio.create_task(block(raw, other_url, busy, HANG_SECONDS + 7 * LEASE_SECONDS))

    async def is_dead() -> bool:  # a command that asks would take too long to start, on a busy machine
        return f"of node {node_id}, which is dead" in cluster.log

    await until(is_dead, what="the hung node to be dead")
    assert time.monotonic() - began >= HANG_SECONDS
    assert "silent" in cluster.log
    await blocking
    await cluster.until_nodes(2)
