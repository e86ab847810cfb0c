"""A call that is passed on through Redis (`peer_link`) against the same one passed on over HTTP, and at its owner.

Three nodes with a real Redis, around an app that answers at once: the owner, one that reaches it at its address, and
one that meets it in Redis alone. Latency is measured over one connection, in short blocks by turns: the median of the
pairs is one round's value. The forwards per core are those at full load, by the CPU time of the node that forwards;
Redis and the owner take theirs as well.
"""

from __future__ import annotations

import time

from benchmarks import messages
from benchmarks.forwarding import CONNECTIONS, HEARTBEATS_SECONDS, rate, sent_to, take_turns
from benchmarks.generator import generating
from benchmarks.processes import serving
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import open_sessions

_CEILING_MS = 3.0
_FLOOR_PER_CORE = 500
_WAYS = {"HTTP": "direct", "Redis": "redis"}


def run(*, quick: bool = False) -> Result:
    rounds, pairs = (2, 4) if quick else (7, 12)
    result = Result(
        "relay: a call that goes to its owner through Redis against one over HTTP",
        ("", "median", "noise"),
        caption=f"{rounds} rounds of {pairs} pairs of blocks; an app that answers at once",
    )
    local: list[float] = []
    added: dict[str, list[float]] = {way: [] for way in _WAYS}
    per_core: dict[str, list[float]] = {way: [] for way in _WAYS}
    per_second: dict[str, list[float]] = {way: [] for way in _WAYS}
    with (
        redis_server() as url,
        serving("instant", mooring=True, core=1, redis_url=url, node_name="owner", peer_link="redis") as owner,
        serving("instant", mooring=True, core=0, redis_url=url, node_name="near", peer_link="direct") as near,
        serving("instant", mooring=True, core=0, redis_url=url, node_name="apart", peer_link="redis") as apart,
        generating() as generator,
    ):
        calls = [messages.legacy_call(session) for session in open_sessions(owner.port, CONNECTIONS)]
        time.sleep(HEARTBEATS_SECONDS)
        for server in (owner, near, apart):
            generator.run(sent_to(server, calls), seconds=0.5)
        for _ in range(rounds):
            for way, server in zip(_WAYS, (near, apart), strict=True):
                at_home, forwarded = take_turns(owner, server, calls[0], generator, pairs)
                local.append(Spread.of(at_home).median)
                added[way].append(Spread.of(far - home for home, far in zip(at_home, forwarded, strict=True)).median)
                rates = [rate(server, calls, generator) for _ in range(pairs)]
                per_second[way].append(Spread.of(first for first, _ in rates).median)
                per_core[way].append(Spread.of(second for _, second in rates).median)
    result.add_row("local call, ms at the median", Spread.of(local), 3)
    for way in _WAYS:
        result.add_row(f"added by a hop through {way}, ms", Spread.of(added[way]), 3)
        result.add_row(f"forwards through {way} per second of that node's CPU time", Spread.of(per_core[way]), 0)
        result.add_row(
            f"forwards through {way} per second over {CONNECTIONS} connections", Spread.of(per_second[way]), 0
        )
    result.figures += [
        Figure("through Redis: added at the median", Spread.of(added["Redis"]), "ms", "ceiling", _CEILING_MS, digits=3),
        Figure(
            "forwards through Redis per core", Spread.of(per_core["Redis"]), "/s", "floor", _FLOOR_PER_CORE, digits=0
        ),
    ]
    return result
