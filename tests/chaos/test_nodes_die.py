"""Nodes die under load, and nobody notices: no session is lost, each call has one outcome, and none is doubled."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.clients import calling, more_calls, through
from tests.e2e.clusters import Cluster, child, running_cluster

pytestmark = pytest.mark.real

SERVER = "tests/servers/ledger_v2.py:server"


async def busiest(cluster: Cluster) -> dict[str, Any]:
    """The node with the most sessions. The clients go on while it is looked for, and have calls under way after."""
    nodes = await asyncio.to_thread(cluster.nodes)
    return max(nodes, key=lambda node: int(node["sessions"]))


async def test_one_node_is_killed_and_then_another_and_then_the_ingress(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    with running_cluster("v2", target=SERVER, variables={"LEDGER": str(ledger)}) as cluster:
        async with calling(partial(through, cluster.url), ledger, 60) as callers:
            await more_calls(callers, 100)
            outcomes = 0
            for kills in range(8):
                if kills >= 2 and outcomes:  # a node may die at a moment in which nothing runs on it
                    break
                victim = await busiest(cluster)
                os.kill(victim["pid"], signal.SIGKILL)
                await more_calls(callers, 300)
                # Counted each time: the next victim takes its numbers along.
                outcomes += sum(sum(node["outcomes"].values()) for node in await cluster.until_nodes(3))

        assert sum(node["revived"] for node in cluster.nodes()) > 0
        assert outcomes > 0

        # What was asked for while there was no ingress was answered by nobody.
        async with calling(partial(through, cluster.url), ledger, 40, most_cut=0.9, is_away=True) as callers:
            await more_calls(callers, 100)
            child(cluster, "traefik").kill()
            await more_calls(callers, 300)
