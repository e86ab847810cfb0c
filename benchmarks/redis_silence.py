"""Calls that land on their owner send nothing to Redis: counted by Redis itself (`INFO commandstats`).

Twice, on a real node around SDK v2. Once with a heartbeat so slow that none falls into the measured time, where the
count is exact. Once with the heartbeat as it comes, minus what an idle node sends in the same time, where one
heartbeat more or less is the noise.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from redis import Redis

from benchmarks import messages
from benchmarks.generator import Generator, generating
from benchmarks.processes import SECRET, first_line, pin, running
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import open_sessions

_CALLS = 2000
_OURS = frozenset({"info", "config|resetstat", "ping"})
_SLOW_HEARTBEAT = {"MOORING_HEARTBEAT_SECONDS": "60", "MOORING_LEASE_SECONDS": "600"}


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


def _measure(
    url: str, generator: Generator, calls: int, environment: dict[str, str]
) -> tuple[Counter[str], Counter[str]]:
    """The commands that Redis ran during the calls, and during as long a time without."""
    with contextlib.closing(Redis.from_url(url, decode_responses=True)) as client, _node(url, environment) as port:
        (session,) = open_sessions(port, 1)
        request = [(port, messages.legacy_call(session))]
        generator.run(request, calls=50)
        before = _commands(client)
        seconds = generator.run(request, calls=calls).seconds
        between = _commands(client)
        time.sleep(seconds)
        return between - before, _commands(client) - between


@contextlib.contextmanager
def _node(url: str, environment: dict[str, str]) -> Iterator[int]:
    """A node as an operator starts it; its port."""
    arguments = [sys.executable, "-m", "mooring", "serve", "benchmarks.apps:sdk_v2", "--port", "0"]
    settings = {"MOORING_SECRET": SECRET, "MOORING_REDIS_URL": url, "MOORING_NODE_NAME": "bench", **environment}
    with running([*arguments, "--log-level", "warning"], settings) as process:
        pin(process.pid, 0)
        said = first_line(process, "`mooring serve`")
        port = urlsplit(said.split()[-1]).port
        assert port is not None, said
        yield port


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
