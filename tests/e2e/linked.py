"""Nodes that can lose Redis and each other. Each reaches Redis through a link of its own, and its peers reach it
through another; both can be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bare import ROOT
from tests.e2e.cuttable import Link, link
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient
from tests.ports import free_port
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

LEASE_SECONDS: Final = 1.5
FAST: Final = {"HEARTBEAT": 0.3, "LEASE": LEASE_SECONDS, "REDIS_TIMEOUT": 0.25, "CONNECT": 0.25, "HOLD": 8}


@dataclass
class Nodes:
    """
    Attributes:
        to_redis: each node's own link.
        to_node: how peers reach each of them.
        book: where the servers write down what they carry out.
    """

    served: list[ServedNode]
    redis: RealRedis
    to_redis: list[Link]
    to_node: list[Link]
    book: Path
    target: str
    variables: Mapping[str, str]

    def entries(self) -> list[str]:
        return self.book.read_text().split() if self.book.exists() else []

    async def healths(self, raw: RawClient) -> list[int]:
        return [(await raw.send("GET", f"{node.url}/healthz")).status for node in self.served]

    @contextlib.asynccontextmanager
    async def one_more(self, name: str) -> AsyncIterator[ServedNode]:
        """One that joins now, and whose ways nobody cuts."""
        variables = {**self.variables, "MOORING_REDIS_URL": self.redis.url}
        running = serving_nodes(self.target, variables, {name: ROOT / "src"})
        [node] = await asyncio.to_thread(running.__enter__)
        try:
            yield node
        finally:
            print(f"--- {node.name}", node.log, sep="\n")  # shown with a test that fails
            await asyncio.to_thread(running.__exit__, None, None, None)

    async def until_well(self, raw: RawClient) -> None:
        async def well() -> bool:
            pages = [await node.status(raw) for node in self.served]
            return all([node["state"] for node in page["nodes"]] == ["ready"] * len(self.served) for page in pages)

        await until(well, what="all nodes to be ready, as all see it")


@contextlib.asynccontextmanager
async def nodes(
    count: int,
    folder: Path,
    raw: RawClient,
    own: Mapping[str, str] | None = None,
    target: str = "tests/servers/entries.py:server",
) -> AsyncIterator[Nodes]:
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
        running = serving_nodes(target, variables, sources, each, ports)
        # They start in this thread, and want the links, which are served in it too.
        served = await asyncio.to_thread(running.__enter__)
        stack.push_async_callback(asyncio.to_thread, running.__exit__, None, None, None)
        cluster = Nodes(served, redis, to_redis, to_node, book, target, variables)
        try:
            await cluster.until_well(raw)
            yield cluster
        finally:  # shown with a test that fails
            for node in served:
                print(f"--- {node.name}", node.log, sep="\n")
