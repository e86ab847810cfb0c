"""SDK v2 called with and without the middleware by turns, in one process.

What tells two processes of the same server apart (how their memory came to lie) is gone, and so is the network; what
stays is the added CPU time with the caches as a real app leaves them, which is several times what a tight loop shows.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks import apps, messages
from benchmarks.exchange import call, open_session, started
from benchmarks.result import Result, Spread
from mooring import Mooring, Settings
from mooring.asgi import App

_CALLS = 10
"""In one turn."""


def run(*, quick: bool = False) -> Result:
    return asyncio.run(_run(rounds=3 if quick else 7, pairs=30 if quick else 100))


async def _run(rounds: int, pairs: int) -> Result:
    bare = apps.sdk_v2()
    node = Mooring(bare, Settings.load())
    result = Result(
        "in_process: SDK v2 with and without the middleware, in one process",
        ("µs per call", "bare", "added", "noise"),
        caption=f"{rounds} rounds, each the median of {pairs} pairs of {_CALLS} calls; no network",
    )
    async with started(node):
        session = await open_session(node)
        for label, request in (("legacy SSE", messages.legacy_call(session)), ("modern", messages.modern_call())):
            await check(node, request)
            measured = [await one_round(bare, node, request, pairs) for _ in range(rounds)]
            added = Spread.of(difference for _, difference in measured)
            alone = Spread.of(microseconds for microseconds, _ in measured)
            result.rows.append((label, alone.text(1), added.text(1), added.noise(1)))
    return result


async def check(app: App, request: bytes) -> None:
    """
    Raises:
        RuntimeError: the call fails, so that there is nothing to measure.
    """
    answered = await call(app, request)
    if b'"result"' not in answered.body:
        raise RuntimeError(f"a call failed: {answered.status} {bytes(answered.body[:300])!r}")


async def one_round(bare: App, node: App, request: bytes, pairs: int) -> tuple[float, float]:
    """The medians of what a call costs bare, and of what Mooring adds, in microseconds."""
    alone, added = [], []
    for turn in range(pairs):
        taken = {app: await _microseconds(app, request) for app in ((bare, node) if turn % 2 else (node, bare))}
        alone.append(taken[bare])
        added.append(taken[node] - taken[bare])
    return statistics.median(alone), statistics.median(added)


async def _microseconds(app: App, request: bytes) -> float:
    """CPU time of one call."""
    before = time.thread_time_ns()
    for _ in range(_CALLS):
        await call(app, request)
    return (time.thread_time_ns() - before) / _CALLS / 1000
