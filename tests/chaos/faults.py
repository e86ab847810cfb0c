"""What befalls nodes, and the Redis and the links between them, drawn at random and one over the other.

What is drawn comes from a seed, and is the same for the same seed; how the faults fall on the calls of clients is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.chaos.mortal import Kind, Mortals, Place, living
from tests.e2e.cuttable import Link, link
from tests.ports import free_ports
from tests.real_redis import RealRedis, real_redis

LEASE_SECONDS: Final = 1.5
TIMES: Final = {
    "heartbeat_seconds": 0.3,
    "lease_seconds": LEASE_SECONDS,
    "redis_timeout_seconds": 0.4,
    "connect_seconds": 0.4,
    "retry_seconds": 0.3,
    "drain_seconds": 1.0,
    "ingress_seconds": 0.5,
    "drain_on_sigterm": True,
}
_LATE: Final = ("drained", "paused", "cut off from Redis", "cut off from its peers", "Redis is frozen")
DEATHS: Final = (*_LATE, "killed", "killed, and its parent sees it", "drained and killed", "paused and killed")
"""Nodes die, and Redis is at most late."""
REFUSALS: Final = (*_LATE, "Redis is read-only", "Redis is full")
"""Redis takes nothing, and nothing is lost."""
LOSSES: Final = (
    *("Redis is emptied", "Redis starts again, empty", "Redis is frozen", "Redis is read-only", "Redis is full"),
    *("cut off from its peers", "paused for a moment"),
)
"""Redis forgets. All nodes live and reach it in time, or what they alone know would be gone with their shards."""
_LASTS_SECONDS: Final = (0.5, 1.3, 1.6, 2.5, 4.0)
"""Some shorter and some longer than a lease."""
_MOMENT_SECONDS: Final = 0.5
_PAUSE_SECONDS: Final = 1.0
_AT_ONCE: Final = 2


@dataclass(frozen=True)
class Fault:
    """One that befalls a node, or Redis.

    Attributes:
        place: the number of the node's.
        lasts_seconds: until the node is killed, goes on or is born again, or until all is mended.
        is_silent: of a link: nothing gets through. Else it refuses.
        after_seconds: so long after the one before it was over.
    """

    what: str
    place: int
    lasts_seconds: float
    is_silent: bool
    after_seconds: float

    def __str__(self) -> str:
        where = "" if self.what.startswith("Redis") else f"node {self.place} is "
        return f"{where}{self.what} for {self.lasts_seconds} s"


def drawn(seed: int, kinds: Sequence[str], places: int) -> Iterator[Fault]:
    """Without an end."""
    of = random.Random(seed)
    while True:
        what, place, lasts = of.choice(kinds), of.randrange(places), of.choice(_LASTS_SECONDS)
        yield Fault(what, place, lasts, of.random() < 0.5, of.random() * _PAUSE_SECONDS)


class Befallen:
    """Nodes that have links of their own to Redis and from their peers, and what befalls them.

    Attributes:
        story: of all faults, when each began and was over.
    """

    def __init__(self, nodes: Mortals, places: Sequence[Place], redis: RealRedis, ways: Sequence[Ways]) -> None:
        self.nodes = nodes
        self._places = places
        self._redis = redis
        self._ways = ways
        # Of each node, and of Redis: one fault befalls it at a time.
        self._locks = [asyncio.Lock() for _ in places]
        self._redis_lock = asyncio.Lock()
        self._acts: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "killed": self._kill,
            "killed, and its parent sees it": self._kill,
            "drained": self._drain,
            "drained and killed": self._drain_and_kill,
            "paused": self._pause,
            "paused for a moment": self._pause_for_a_moment,
            "paused and killed": self._pause_and_kill,
            "cut off from Redis": lambda fault: self._cut(self._ways[fault.place].to_redis, fault),
            "cut off from its peers": lambda fault: self._cut(self._ways[fault.place].from_peers, fault),
            "Redis is frozen": self._freeze,
            "Redis is emptied": self._empty,
            "Redis starts again, empty": self._start_again,
            "Redis is read-only": self._refuse_writing,
            "Redis is full": self._fill,
        }
        self.story: list[str] = []

    async def suffer(self, faults: Iterator[Fault], seconds: float) -> None:
        """So many at once as overlap, until the time is over; then everything is mended."""
        until = time.monotonic() + seconds
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(self._suffer_one_after_the_other(faults, until))
        finally:
            print(*self.story, sep="\n")  # shown with a test that fails

    async def _suffer_one_after_the_other(self, faults: Iterator[Fault], until: float) -> None:
        while time.monotonic() < until:
            fault = next(faults)
            await asyncio.sleep(fault.after_seconds)
            async with self._redis_lock if fault.what.startswith("Redis") else self._locks[fault.place]:
                self._tell(f"{fault}")
                await self._acts[fault.what](fault)
                self._tell(f"over: {fault}")

    def _tell(self, what: str) -> None:
        self.story.append(f"{time.strftime('%T')}.{time.time() % 1 * 1000:03.0f} {what}")

    async def _kill(self, fault: Fault) -> None:
        place = self._places[fault.place]
        await self.nodes.kill(place, is_witnessed=fault.what != "killed")
        await asyncio.sleep(fault.lasts_seconds)
        await self.nodes.replace(place)

    async def _drain(self, fault: Fault) -> None:
        place = self._places[fault.place]
        self.nodes.send(place, signal.SIGTERM)
        await self.nodes.until_ended(place)
        await self.nodes.replace(place)

    async def _drain_and_kill(self, fault: Fault) -> None:
        place = self._places[fault.place]
        self.nodes.send(place, signal.SIGTERM)
        await asyncio.sleep(min(fault.lasts_seconds, LEASE_SECONDS))
        await self.nodes.kill(place)
        await self.nodes.replace(place)

    async def _pause(self, fault: Fault) -> None:
        self.nodes.send(self._places[fault.place], signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_seconds)
        self.nodes.send(self._places[fault.place], signal.SIGCONT)

    async def _pause_for_a_moment(self, fault: Fault) -> None:
        await self._pause(replace(fault, lasts_seconds=_MOMENT_SECONDS))

    async def _pause_and_kill(self, fault: Fault) -> None:
        place = self._places[fault.place]
        self.nodes.send(place, signal.SIGSTOP)
        await asyncio.sleep(fault.lasts_seconds)
        await self.nodes.kill(place)
        await self.nodes.replace(place)

    async def _cut(self, way: Link, fault: Fault) -> None:
        way.cut("silent" if fault.is_silent else "refused")
        await asyncio.sleep(fault.lasts_seconds)
        way.mend()

    async def _freeze(self, fault: Fault) -> None:
        self._redis.freeze()
        await asyncio.sleep(fault.lasts_seconds)
        self._redis.thaw()

    async def _empty(self, fault: Fault) -> None:
        await self._redis.empty()

    async def _start_again(self, fault: Fault) -> None:
        await self._redis.stop()
        await asyncio.sleep(fault.lasts_seconds)
        await self._redis.start()

    async def _refuse_writing(self, fault: Fault) -> None:
        async with self._told("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"):
            await asyncio.sleep(fault.lasts_seconds)

    async def _fill(self, fault: Fault) -> None:
        async with self._told("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"):
            await asyncio.sleep(fault.lasts_seconds)

    @contextlib.asynccontextmanager
    async def _told(self, before: str, after: str) -> AsyncIterator[None]:
        async with self._redis.client() as client:
            await client.execute_command(*before.split())
            yield
            await client.execute_command(*after.split())


@dataclass(frozen=True)
class Ways:
    """A node's own, which can be cut."""

    to_redis: Link
    from_peers: Link


@contextlib.asynccontextmanager
async def befallen(count: int, kind: Kind) -> AsyncIterator[Befallen]:
    """So many such nodes, around a Redis of their own."""
    async with contextlib.AsyncExitStack() as stack:
        redis = await stack.enter_async_context(real_redis())
        places, ways = [], []
        for port in free_ports(count):
            to_redis = await stack.enter_async_context(link(redis.url))
            from_peers = await stack.enter_async_context(link(f"http://127.0.0.1:{port}"))
            ways.append(Ways(to_redis, from_peers))
            own = f"redis://127.0.0.1:{to_redis.port}", f"http://127.0.0.1:{from_peers.port}"
            places.append(Place(port, *own))
        nodes = await stack.enter_async_context(living(places, redis.url, kind))
        yield Befallen(nodes, places, redis, ways)
