"""The two pages that load balancers ask: the process is alive, and the node takes new sessions or says why not."""

from __future__ import annotations

from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node
from tests.node.apps import ScriptedApp
from tests.node.rpc import RawClient


async def test_health_and_readiness(node: RunningNode, raw: RawClient) -> None:
    assert (await raw.send("GET", f"{node.url}/healthz")).status == 200
    ready = await raw.send("GET", f"{node.url}/readyz")
    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (await raw.send("HEAD", f"{node.url}/readyz")).body == b""


async def test_a_full_node_says_so_and_serves_on(app: ScriptedApp, store: MemoryStore, raw: RawClient) -> None:
    async with running_node(app, store, capacity=1) as node:
        session = await raw.open(node.url)
        ready = await raw.send("GET", f"{node.url}/readyz")
        assert (ready.status, ready.body) == (503, b"full: 1 sessions, capacity 1\n")
        assert (await raw.call(node.url, session)).status == 200
        await raw.open(node.url)
