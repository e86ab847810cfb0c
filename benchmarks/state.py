"""What it costs to keep state: calls that change `session_state()` against calls that do not.

One node, one session, one call after the other, with Redis on the same machine: the time that a call takes, and the
commands that it makes Redis carry out. What the node asks of Redis by itself is measured while nobody calls, and taken
off.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import Any, Final

from redis import Redis

from benchmarks import messages
from benchmarks.processes import serving
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import Client

_KINDS: Final[dict[str, messages.Tool]] = {
    "does not ask for it": messages.ADD,
    "looks at it": {"name": "look", "arguments": {}},
    "changes it": {"name": "change", "arguments": {}},
    "changes it, and is transactional": {"name": "change_once", "arguments": {}},
}
_IDLE_SECONDS: Final = 2.0


def run(*, quick: bool = False) -> Result:
    rounds, calls = (3, 200) if quick else (7, 1_000)
    result = Result(
        "state: a call that…",
        ("", "ms", "noise", "added, ms", "commands in Redis"),
        caption="SDK v2, one session, a state of 1 KiB; medians of rounds, which take turns",
    )
    times: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    commands: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    with redis_server() as url, serving("sdk_v2_state", mooring=True, redis_url=url) as server:
        redis = Redis.from_url(url)
        with contextlib.closing(Client(server.port)) as client:
            session = client.open()
            for tool in _KINDS.values():
                _median_ms(client, session, tool, 50)
            before, began = _commands(redis), time.monotonic()
            time.sleep(_IDLE_SECONDS)
            by_itself = (_commands(redis) - before) / (time.monotonic() - began)
            for _ in range(rounds):
                for kind, tool in _KINDS.items():
                    before, began = _commands(redis), time.monotonic()
                    times[kind].append(_median_ms(client, session, tool, calls))
                    spent = time.monotonic() - began
                    commands[kind].append((_commands(redis) - before - by_itself * spent) / calls)
    plain = statistics.median(times["does not ask for it"])
    for kind in _KINDS:
        spread = Spread.of(times[kind])
        asked = max(0.0, statistics.median(commands[kind]))
        result.rows.append((kind, spread.text(), spread.noise(), f"{spread.median - plain:+.2f}", f"{asked:.2f}"))
    pairs = zip(times["changes it"], times["does not ask for it"], strict=True)
    added = [changed - without for changed, without in pairs]
    result.figures.append(Figure("a call that changes its state, added", Spread.of(added), "ms", "ceiling", 2.0))
    return result


def _median_ms(client: Client, session: str, tool: messages.Tool, calls: int) -> float:
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        client.call(session, tool)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def _commands(redis: Redis) -> float:
    """What clients have asked for so far: what scripts do inside counts as one."""
    stats: Any = redis.info("commandstats")
    outer = ("evalsha", "eval", "get", "publish")
    return sum(float(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in outer)
