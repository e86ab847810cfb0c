"""What sessions cost that sleep (`hibernate_seconds`): memory of their node, time to wake one, and other calls.

One server with Mooring, and its records in Redis. Sessions are opened and left alone until all of them sleep; then some
are woken by a call, and called again while they are awake. The same with ten times as many, up to 100,000.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from benchmarks import messages
from benchmarks.processes import SECRET, Server, serving
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import Client, open_sessions
from mooring.core.sealing import Seals
from mooring.store import RedisStore
from mooring.store.registry import Registry

_SLEEPS_AFTER_SECONDS: Final = 0.5
_FIRST: Final = 200
"""Opened before anything is measured: what is loaded and cached once is no session's."""
_WOKEN: Final = 100
_CALLS: Final = 500


def run(*, quick: bool = False) -> Result:
    sizes = (1_000, 5_000) if quick else (1_000, 10_000, 100_000)
    result = Result(
        "hibernation: sessions of SDK v2 that sleep on one node",
        ("sessions", "KiB for each", "asleep in, s", "first call, ms", "noise", "next calls, ms", "noise"),
        caption="USS; the first call of a session that sleeps revives it; records in Redis",
    )
    each, first, calls = [], [], []
    with redis_server() as url:
        settings: dict[str, Any] = {
            "redis_url": url,
            "hibernate_seconds": _SLEEPS_AFTER_SECONDS,
            "session_ttl_seconds": 24 * 3600,
        }
        with serving("sdk_v2", mooring=True, **settings) as server:
            ids = open_sessions(server.port, _FIRST)
            _until_asleep(url)
            before = server.settled_bytes()
            for size in sizes:
                ids += open_sessions(server.port, size - len(ids) + _FIRST)
                seconds = _until_asleep(url)
                each.append((server.settled_bytes() - before) / size / 1024)
                woken, awake = _called(server, ids)
                first.append(statistics.median(woken))
                calls.append(statistics.median(awake))
                _until_asleep(url)
                shown = (f"{each[-1]:.2f}", f"{seconds:.1f}", *_shown(woken), *_shown(awake))
                result.rows.append((f"{size:,}", *shown))
    largest = f"{sizes[-1]:,}"
    result.figures += [
        Figure(f"memory of a session that sleeps, {largest} of them", Spread.of(each[-1:]), "KiB", "ceiling", 1.0),
        Figure(f"waking one of {largest}", Spread.of(first[-1:]), "ms", "ceiling", 20.0),
        Figure(f"a call with {largest} on record, against {sizes[0]:,}", _ratio(calls), "", "ceiling", 1.2),
    ]
    return result


def _until_asleep(url: str) -> float:
    """Seconds until no session is awake, as the node says with its heartbeats."""

    async def wait() -> None:
        store = RedisStore(url, "mcp", timeout_seconds=5, seals=Seals([SECRET], "mcp"))
        try:
            while any(node.info.sessions for node in await Registry(store).nodes()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        finally:
            await store.aclose()

    began = time.monotonic()
    time.sleep(_SLEEPS_AFTER_SECONDS)  # what was opened last is in no heartbeat yet
    asyncio.run(wait())
    return time.monotonic() - began


def _called(server: Server, ids: list[str]) -> tuple[list[float], list[float]]:
    """How long calls took that woke a session, and others on the same sessions; in ms."""
    chosen = random.sample(ids, _WOKEN)
    with contextlib.closing(Client(server.port)) as client:
        woken = [_milliseconds(partial(client.call, one, messages.ADD)) for one in chosen]
        latest = random.choices(chosen[-20:], k=_CALLS)
        awake = [_milliseconds(partial(client.call, one, messages.ADD)) for one in latest]
    return woken, awake


def _milliseconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _shown(times: list[float]) -> tuple[str, str]:
    ordered = sorted(times)
    low, high = (ordered[int(share * (len(ordered) - 1))] for share in (0.05, 0.95))
    return f"{statistics.median(ordered):.2f}", f"{low:.2f} to {high:.2f}"


def _ratio(calls: list[float]) -> Spread:
    return Spread.of([calls[-1] / calls[0]])
