"""A raw client, one node with its app and its store, and three of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node
from tests.node.apps import ScriptedApp
from tests.node.clusters import Cluster, three_nodes
from tests.node.rpc import RawClient


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield RawClient(http)


@pytest.fixture
def app() -> ScriptedApp:
    return ScriptedApp()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def node(app: ScriptedApp, store: MemoryStore) -> AsyncIterator[RunningNode]:
    async with running_node(app, store) as running:
        yield running


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with three_nodes() as cluster:
        yield cluster
