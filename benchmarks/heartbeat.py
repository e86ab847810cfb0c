"""What a heartbeat costs: bytes on the wire and time in Redis, for clusters of 3 to 1,000 simulated nodes.

Each simulated node renews its lease as a real one does, all of them on one Redis, while nothing changes but the leases
themselves. Then one shard changes its owner, and the time is taken until all of 300 nodes know, each at its own next
heartbeat, with the time between two that is the default.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from mooring.core.ids import SHARD_ALPHABET
from mooring.core.model import NodeInfo, NodeState, ShardOwner, Snapshot
from mooring.settings import Settings
from mooring.store import RedisStore

_SIZES: Final = (3, 30, 300, 1000)
_ROUNDS: Final = 5
_SHARDS_EACH: Final = 8
_LEASE_SECONDS: Final = 60.0
_HEARTBEAT_SECONDS: Final = float(Settings.model_fields["heartbeat_seconds"].default)
_WATCHERS: Final = 300


@dataclass(slots=True)
class _Member:
    info: NodeInfo
    known: Snapshot


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of one beat: bytes that Redis gets and sends, and the microseconds that it computes."""

    received: float
    sent: float
    microseconds: float


def run(*, quick: bool = False) -> Result:
    rounds = 2 if quick else _ROUNDS
    result = Result(
        "heartbeat: what one renewal costs while nothing else changes",
        ("nodes", "bytes to Redis", "bytes from Redis", "Redis CPU, µs", "noise"),
        caption="the noise is that of the time; bytes are the same in each round",
    )
    costs = {size: asyncio.run(_measure(size, rounds)) for size in _SIZES}
    for size, measured in costs.items():
        spent = Spread.of(cost.microseconds for cost in measured)
        received, sent = measured[-1].received, measured[-1].sent
        result.rows.append((f"{size:,}", f"{received:,.0f}", f"{sent:,.0f}", spent.text(0), spent.noise(0)))
    grown = [large.sent / small.sent for small, large in zip(costs[_SIZES[0]], costs[_SIZES[-1]], strict=True)]
    result.figures.append(Figure("heartbeat bytes, 1,000 nodes against 3", Spread.of(grown), "x", "ceiling", 1.5))
    told = [asyncio.run(_time_to_tell()) for _ in range(rounds)]
    result.figures.append(Figure("a new owner known to 300 nodes", Spread.of(told), "s", "ceiling", 1.0))
    return result


async def _measure(size: int, rounds: int) -> list[_Cost]:
    with redis_server() as url:
        store, client = RedisStore(url, "mcp", 30), Redis.from_url(url, decode_responses=True)
        try:
            members = await _members(store, size)
            return [await _one_round(store, client, members) for _ in range(rounds)]
        finally:
            await store.aclose()
            await client.aclose()


async def _one_round(store: RedisStore, client: Any, members: list[_Member]) -> _Cost:
    await client.config_resetstat()
    before = await client.info("stats")
    await _beat_all(store, members)
    after, spent = await client.info("stats"), await client.info("commandstats")

    def per_beat(name: str) -> float:
        return float(after[name] - before[name]) / len(members)

    return _Cost(
        per_beat("total_net_input_bytes"),
        per_beat("total_net_output_bytes"),
        float(spent["cmdstat_evalsha"]["usec_per_call"]),
    )


async def _members(store: RedisStore, size: int) -> list[_Member]:
    """So many nodes with their shards, which all know each other."""
    letters = itertools.product(SHARD_ALPHABET, repeat=5)
    infos = [_info(number) for number in range(size)]
    renewed = await asyncio.gather(*(store.register(info, _LEASE_SECONDS) for info in infos))
    claims = [ShardOwner(info.id, 1) for info in infos for _ in range(_SHARDS_EACH)]
    await asyncio.gather(
        *(store.claim("".join(shard), owner, 0) for shard, owner in zip(letters, claims, strict=False))
    )
    members: list[_Member] = []
    for info, renewed_ms in zip(infos, renewed, strict=True):
        # What one node knows is as good for all: to read everything for each of a thousand takes minutes here.
        everything = members[0].known if members else None
        known = await store.heartbeat(info, _LEASE_SECONDS, renewed_ms, everything)
        assert known is not None
        members.append(_Member(info, known))
    for _ in range(2):  # until nothing is new to anybody
        await _beat_all(store, members)
    return members


def _info(number: int) -> NodeInfo:
    return NodeInfo(
        id=f"node-{number}-abcde",
        name=f"node-{number}",
        url=f"http://10.0.{number // 250}.{number % 250 + 1}:8000",
        pid=4711,
        state=NodeState.READY,
        sessions=100,
        capacity=10_000,
        version="0.1.0",
        secret_id="0123abcd",
        started=1_700_000_000.0,
        endpoints=("/mcp",),
    )


async def _beat_all(store: RedisStore, members: list[_Member]) -> None:
    await asyncio.gather(*(_beat(store, member) for member in members))


async def _beat(store: RedisStore, member: _Member) -> None:
    renewed_ms = member.known.leases[member.info.id].renewed_ms
    known = await store.heartbeat(member.info, _LEASE_SECONDS, renewed_ms, member.known)
    assert known is not None
    member.known = known


async def _time_to_tell() -> float:
    """Seconds from a change of owner until all nodes know, each beating at its own time."""
    with redis_server() as url:
        store = RedisStore(url, "mcp", 30)
        try:
            members = await _members(store, _WATCHERS)
            shard, owner = next(iter(members[0].known.shards.items()))
            receiver = members[-1].info.id if owner.node_id != members[-1].info.id else members[-2].info.id
            given = await store.give(shard, owner, receiver)
            began = time.perf_counter()

            async def know(member: _Member) -> float:
                await asyncio.sleep(random.uniform(0, _HEARTBEAT_SECONDS))
                await _beat(store, member)
                assert member.known.shards[shard] == given
                return time.perf_counter() - began

            return max(await asyncio.gather(*(know(member) for member in members)))
        finally:
            await store.aclose()
