"""A call sent to the wrong node, which forwards it, against the same call sent to its owner.

Two nodes with a real Redis, around an app that answers at once. Latency is measured over one connection, so that
nothing queues, in short blocks by turns: the median of the pairs is one round's value. The forwards per core are
those at full load, by the CPU time of the node that forwards.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import messages
from benchmarks.generator import Generator, generating
from benchmarks.processes import Server, serving
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import open_sessions

CONNECTIONS = 16
_BLOCK_SECONDS = 0.15
_CEILING_MS = 1.0
_FLOOR_PER_CORE = 1500
HEARTBEATS_SECONDS = 2.5
"""After which the nodes know each other."""


@dataclass(slots=True)
class Latencies:
    """One value of each kind per round, in ms."""

    local: list[float] = field(default_factory=list)
    forwarded: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)

    def add(self, local: Sequence[float], forwarded: Sequence[float]) -> None:
        self.local.append(Spread.of(local).median)
        self.forwarded.append(Spread.of(forwarded).median)
        self.added.append(Spread.of(far - near for near, far in zip(local, forwarded, strict=True)).median)


def run(*, quick: bool = False) -> Result:
    rounds, pairs = (2, 4) if quick else (7, 12)
    result = Result(
        "forwarding: a call at the wrong node against the same call at its owner",
        ("", "median", "noise"),
        caption=f"{rounds} rounds of {pairs} pairs of blocks; an app that answers at once",
    )
    with (
        redis_server() as url,
        serving("instant", mooring=True, core=1, redis_url=url, node_name="owner") as owner,
        serving("instant", mooring=True, core=0, redis_url=url, node_name="other") as other,
        generating() as generator,
    ):
        calls = [messages.legacy_call(session) for session in open_sessions(owner.port, CONNECTIONS)]
        time.sleep(HEARTBEATS_SECONDS)
        for server in (owner, other):
            generator.run(sent_to(server, calls), seconds=0.5)
        latencies, per_second, per_core = Latencies(), [], []
        for _ in range(rounds):
            latencies.add(*take_turns(owner, other, calls[0], generator, pairs))
            rates = [rate(other, calls, generator) for _ in range(pairs)]
            per_second.append(Spread.of(first for first, _ in rates).median)
            per_core.append(Spread.of(second for _, second in rates).median)
    _report(latencies, Spread.of(per_second), Spread.of(per_core), result)
    return result


def sent_to(server: Server, calls: Sequence[bytes]) -> list[tuple[int, bytes]]:
    return [(server.port, call) for call in calls]


def take_turns(
    owner: Server, other: Server, call: bytes, generator: Generator, pairs: int
) -> tuple[list[float], list[float]]:
    """The median latency in ms of each block, local and forwarded."""
    local, forwarded = [], []
    for _ in range(pairs):
        local.append(generator.run(sent_to(owner, [call]), seconds=_BLOCK_SECONDS).median_ms)
        forwarded.append(generator.run(sent_to(other, [call]), seconds=_BLOCK_SECONDS).median_ms)
    return local, forwarded


def rate(other: Server, calls: Sequence[bytes], generator: Generator) -> tuple[float, float]:
    """Forwards per second, and per second of the forwarding node's CPU time."""
    before = other.cpu_seconds
    load = generator.run(sent_to(other, calls), seconds=_BLOCK_SECONDS)
    return load.per_second, load.calls / (other.cpu_seconds - before)


def _report(latencies: Latencies, per_second: Spread, per_core: Spread, result: Result) -> None:
    added = Spread.of(latencies.added)
    result.add_row("local call, ms at the median", Spread.of(latencies.local), 3)
    result.add_row("forwarded call, ms at the median", Spread.of(latencies.forwarded), 3)
    result.add_row("added by the hop, ms", added, 3)
    result.add_row("forwards per second of the forwarding node's CPU time", per_core, 0)
    result.add_row(f"forwards per second over {CONNECTIONS} connections, all on this machine", per_second, 0)
    result.figures += [
        Figure("forwarded call: added at the median", added, "ms", "ceiling", _CEILING_MS, digits=3),
        Figure("forwards per second and core", per_core, "/s", "floor", _FLOOR_PER_CORE, digits=0),
    ]
