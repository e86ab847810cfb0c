"""Nodes that are born fast and killed at once: forked from a process that has everything loaded."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import multiprocessing
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import uvicorn

from mooring import Mooring, Settings
from mooring.errors import StoreUnavailable
from mooring.store import RedisStore
from mooring.store.registry import NodeStatus, Registry
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

SECRET: Final = "sixteen or more of them"
LEASE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 30.0
_WITNESSED: Final = 0.8
"""The part of deaths that a parent sees and tells of; the others come out with the lease."""
_PRELOADED: Final = "tests.servers.state_v2"


@dataclass(frozen=True)
class Place:
    """Where a node lives, and the next one after it.

    Attributes:
        redis_url, advertise_url: its own ways to Redis, and its peers' to it.
    """

    port: int
    redis_url: str
    advertise_url: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Kind:
    """What all the nodes are alike in.

    Attributes:
        module: its `server` is served.
        variables: of the environment, set before that is loaded.
        log_folder: where each place has its own log; without it they say errors alone, on stderr.
    """

    module: str = _PRELOADED
    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    log_folder: Path | None = None


def live(place: Place, kind: Kind) -> None:
    """A node, in a process of its own, until it is killed or told to stop."""
    os.environ.update(kind.variables)
    server = importlib.import_module(kind.module).server
    if kind.log_folder is not None:
        form, log = "%(asctime)s.%(msecs)03d %(process)d %(name)s %(message)s", kind.log_folder / f"{place.port}.log"
        logging.basicConfig(level="INFO", filename=log, format=form, datefmt="%T", force=True)
    own = {"node_name": f"mortal-{place.port}", "advertise_url": place.advertise_url, "redis_url": place.redis_url}
    times = {"heartbeat_seconds": 0.2, "lease_seconds": LEASE_SECONDS}
    chosen = Settings.load(**{"secret": SECRET, **own, **times, **kind.settings})
    app = Mooring(server.streamable_http_app(json_response="ANSWERS_IN_JSON" in kind.variables), chosen)
    uvicorn.run(app, port=place.port, log_level="error", timeout_graceful_shutdown=2)


class Mortals:
    """One node in each place, which the next one takes that is born there."""

    def __init__(self, places: Sequence[Place], redis_url: str, kind: Kind) -> None:
        self._kind = kind
        self._store = RedisStore(redis_url, "mcp", 5)
        self._registry = Registry(self._store)
        self._nursery = multiprocessing.get_context("forkserver")
        self._nursery.set_forkserver_preload([__name__, _PRELOADED])
        self._living: dict[Place, BaseProcess] = {place: self._nursery.Process() for place in places}
        self.killed = 0

    @property
    def urls(self) -> list[str]:
        return [place.url for place in self._living]

    async def start(self) -> None:
        for place in self._living:
            self._bear(place)
        await self.until_ready(len(self._living))

    def _bear(self, place: Place) -> None:
        self._living[place] = self._nursery.Process(target=live, args=(place, self._kind))
        self._living[place].start()

    async def until_ready(self, count: int) -> None:
        async def are_ready() -> bool:
            return len([node for node in await self._nodes() if node.state == "ready"]) >= count

        await until(are_ready, what=f"{count} nodes")

    async def _nodes(self) -> list[NodeStatus]:
        """Those that live now, as far as the store can tell."""
        pids = {process.pid for process in self._living.values()}
        with contextlib.suppress(StoreUnavailable):
            return [node for node in await self._registry.nodes() if node.info.pid in pids]
        return []

    async def replace(self, place: Place) -> None:
        """Once its node has ended: the next is born, and ready when this returns. One that cannot start is started
        again, as whoever runs nodes does."""

        async def is_ready() -> bool:
            if not self._living[place].is_alive():
                self._bear(place)
            pid = self._living[place].pid
            return any(node.state == "ready" and node.info.pid == pid for node in await self._nodes())

        await until(is_ready, what=f"a new node at {place.url}")

    async def kill(self, place: Place, *, is_witnessed: bool = False) -> None:
        """At once. Where a parent sees it, the cluster is told."""
        victim = self._living[place]
        nodes = [node.info.id for node in await self._nodes() if node.info.pid == victim.pid] if is_witnessed else []
        victim.kill()
        await asyncio.to_thread(victim.join)
        self.killed += 1
        with contextlib.suppress(StoreUnavailable):
            for node in nodes:
                await self._store.bury(node)

    async def kill_one(self) -> None:
        """Whichever, at once. The next is born in its place; at least two are there when this returns."""
        place = random.choice(list(self._living))
        await asyncio.sleep(random.random() * 0.1)
        await self.kill(place, is_witnessed=random.random() < _WITNESSED)
        self._bear(place)
        await self.until_ready(2)

    def send(self, place: Place, number: signal.Signals) -> None:
        pid = self._living[place].pid
        assert pid is not None
        os.kill(pid, number)

    async def until_ended(self, place: Place) -> None:
        """Of one that was told to stop."""
        node = self._living[place]
        await asyncio.to_thread(node.join, _STOP_SECONDS)
        assert node.exitcode is not None, f"the node at {place.url} does not stop"

    async def stop(self) -> None:
        for process in self._living.values():
            if process.pid is not None:
                process.kill()
                process.join()
        await self._store.aclose()


@contextlib.asynccontextmanager
async def living(places: Sequence[Place], redis_url: str, kind: Kind) -> AsyncIterator[Mortals]:
    """Nodes in these places."""
    nodes = Mortals(places, redis_url, kind)
    try:
        await nodes.start()
        yield nodes
    finally:
        await nodes.stop()


@contextlib.asynccontextmanager
async def mortals(count: int, **settings: Any) -> AsyncIterator[Mortals]:
    """So many around a Redis of their own."""
    async with real_redis() as redis:
        ports = [free_port() for _ in range(count)]
        places = [Place(port, redis.url, f"http://127.0.0.1:{port}") for port in ports]
        async with living(places, redis.url, Kind(settings=settings)) as nodes:
            yield nodes
