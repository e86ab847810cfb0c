"""Nodes that are born fast and killed at once: forked from a process that has everything loaded."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
from collections.abc import AsyncIterator
from multiprocessing.process import BaseProcess
from typing import Any, Final

import uvicorn

from mooring import Mooring, Settings
from mooring.store import RedisStore
from mooring.store.registry import Registry
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.servers.state_v2 import server
from tests.waiting import until

SECRET: Final = "sixteen or more of them"
LEASE_SECONDS: Final = 1.0
_WITNESSED: Final = 0.8
"""The part of deaths that a parent sees and tells of; the others come out with the lease."""


def live(port: int, redis_url: str, settings: dict[str, Any]) -> None:
    """A node, in a process of its own, until it is killed."""
    chosen = Settings.load(
        node_name=f"mortal-{port}",
        advertise_url=f"http://127.0.0.1:{port}",
        redis_url=redis_url,
        secret=SECRET,
        heartbeat_seconds=0.2,
        lease_seconds=LEASE_SECONDS,
        **settings,
    )
    app = Mooring(server.streamable_http_app(), chosen)
    uvicorn.run(app, port=port, log_level="error")


class Mortals:
    """So many nodes, each in a place of its own, which the next one takes that is born there."""

    def __init__(self, count: int, redis_url: str, settings: dict[str, Any]) -> None:
        self._redis_url = redis_url
        self._settings = settings
        self._store = RedisStore(redis_url, "mcp", 5)
        self._registry = Registry(self._store)
        self._nursery = multiprocessing.get_context("forkserver")
        self._nursery.set_forkserver_preload([__name__])
        # By their ports.
        self._living: dict[int, BaseProcess] = {free_port(): self._nursery.Process() for _ in range(count)}
        self.killed = 0

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self._living]

    async def start(self) -> None:
        for port in self._living:
            self._bear(port)
        await self.until_ready(len(self._living))

    def _bear(self, port: int) -> None:
        self._living[port] = self._nursery.Process(target=live, args=(port, self._redis_url, self._settings))
        self._living[port].start()

    async def until_ready(self, count: int) -> None:
        async def are_ready() -> bool:
            pids = {process.pid for process in self._living.values()}
            nodes = await self._registry.nodes()
            return len([node for node in nodes if node.state == "ready" and node.info.pid in pids]) >= count

        await until(are_ready, what=f"{count} nodes")

    async def kill_one(self) -> None:
        """Whichever, at once. The next is born in its place; at least two are there when this returns."""
        port, victim = random.choice(list(self._living.items()))
        [node] = [node.info.id for node in await self._registry.nodes() if node.info.pid == victim.pid] or [""]
        await asyncio.sleep(random.random() * 0.1)
        victim.kill()
        victim.join()
        self.killed += 1
        if node and random.random() < _WITNESSED:
            await self._store.bury(node)
        self._bear(port)
        await self.until_ready(2)

    async def stop(self) -> None:
        for process in self._living.values():
            with contextlib.suppress(ProcessLookupError, TypeError):
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
        await self._store.aclose()


@contextlib.asynccontextmanager
async def mortals(count: int, **settings: Any) -> AsyncIterator[Mortals]:
    """Such nodes around a Redis of their own."""
    async with real_redis() as redis:
        nodes = Mortals(count, redis.url, settings)
        try:
            await nodes.start()
            yield nodes
        finally:
            await nodes.stop()
