"""Three nodes with scripted apps, for tests of what goes on between them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from mooring.node.counters import Tally
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.apps import ScriptedApp


@dataclass
class Cluster:
    """Three nodes, their apps and their store."""

    nodes: list[RunningNode]
    apps: list[ScriptedApp]
    store: MemoryStore

    def tally(self, index: int) -> Tally:
        return self.nodes[index].mooring._node.tally


@contextlib.asynccontextmanager
async def three_nodes(**options: Any) -> AsyncIterator[Cluster]:
    apps: list[ScriptedApp] = []
    store = MemoryStore()

    def make_app() -> ScriptedApp:
        apps.append(ScriptedApp())
        return apps[-1]

    async with running_nodes(make_app, 3, store, **options) as nodes:
        yield Cluster(nodes, apps, store)
