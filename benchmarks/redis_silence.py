"""Calls that land on their owner send nothing to Redis: counted by Redis itself (`INFO commandstats`).

Twice, on a real node around SDK v2. Once with a heartbeat so slow that none falls into the measured time, where the
count is exact. Once with the heartbeat as it comes, minus what an idle node sends in the same time, where one
heartbeat more or less is the noise.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter

from redis import Redis

from benchmarks import messages
from benchmarks.generator import Generator, generating
from benchmarks.processes import node
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import open_sessions

_CALLS = 2000
_OURS = frozenset({"info", "config|resetstat", "ping"})
_SLOW_HEARTBEAT = {"heartbeat_seconds": 60, "lease_seconds": 600}


def run(*, quick: bool = False) -> Result:
    calls = 300 if quick else _CALLS
    result = Result(
        f"redis_silence: what {calls:,} calls on one session, sent to its owner, make Redis do",
        ("heartbeat", "commands during the calls", "idle for as long", "per call"),
        caption="a heartbeat more or less is the noise of the second row",
    )
    with redis_server() as url, generating() as generator:
        silent = _measure(url, generator, calls, _SLOW_HEARTBEAT)
        usual = _measure(url, generator, calls, {})
    _report("none in this time", *silent, calls, result)
    _report("every second", *usual, calls, result)
    per_call = silent[0].total() / calls
    result.figures.append(
        Figure("Redis commands per local call", Spread(per_call, per_call, per_call), "", "ceiling", 0, digits=4)
    )
    return result


def _measure(url: str, generator: Generator, calls: int, settings: dict[str, int]) -> tuple[Counter[str], Counter[str]]:
    """The commands that Redis ran during the calls, and during as long a time without."""
    with (
        contextlib.closing(Redis.from_url(url, decode_responses=True)) as client,
        node("benchmarks.apps:sdk_v2", redis_url=url, node_name="bench", **settings) as server,
    ):
        (session,) = open_sessions(server.port, 1)
        request = [(server.port, messages.legacy_call(session))]
        generator.run(request, calls=50)
        before = _commands(client)
        seconds = generator.run(request, calls=calls).seconds
        between = _commands(client)
        time.sleep(seconds)
        return between - before, _commands(client) - between


def _commands(client: Redis) -> Counter[str]:
    """How often Redis ran each command, within scripts too, without what this benchmark itself asks."""
    stats: dict[str, dict[str, int]] = client.info("commandstats")
    counted = {name.removeprefix("cmdstat_"): values["calls"] for name, values in stats.items()}
    return Counter({name: count for name, count in counted.items() if name not in _OURS})


def _report(heartbeat: str, busy: Counter[str], idle: Counter[str], calls: int, result: Result) -> None:
    result.rows.append((heartbeat, _text(busy), _text(idle), f"{(busy.total() - idle.total()) / calls:.4f}"))


def _text(commands: Counter[str]) -> str:
    listed = ", ".join(f"{count} {name}" for name, count in sorted(commands.items()))
    return f"{commands.total()}: {listed}" if listed else "0"
