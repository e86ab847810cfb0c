"""How long a rolling replacement takes, what it costs in calls, and when those who listen come back.

A local cluster of three nodes as `mooring up` runs it, behind Traefik. Clients with a session each listen (GET) and
come back when `retry:` says so, while others call without pause. Then `mooring roll` replaces all nodes.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import io
import itertools
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import aiohttp
from rich.console import Console
from tests.bare import ROOT
from tests.e2e.clusters import Cluster, environment, running_cluster
from tests.e2e.load import VERSION, open_session
from tests.node.rpc import RawClient

from benchmarks.result import Figure, Result, Spread

_SERVER: Final = "tests/servers/everything_v2.py:app"
_REPLACED: Final = re.compile(r"replaced 3 nodes in ([\d.]+) s")
_CALLERS: Final = 8
_BEFORE_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.1
_GAP_SECONDS: Final = 1.0
"""Nobody came back for so long: the next ones belong to another node's window."""
_LISTENS: Final = {"accept": "text/event-stream", **VERSION}


def run(*, quick: bool = False, picture: Path | None = None) -> Result:
    """
    Args:
        picture: an SVG file to draw into when the listeners of the last roll came back.
    """
    sessions, rolls = (60, 1) if quick else (300, 2)
    return asyncio.run(_run(sessions, rolls, picture))


async def _run(sessions: int, rolls: int, picture: Path | None) -> Result:
    result = Result(
        f"rolling: three nodes are replaced, {sessions} clients listen, {_CALLERS} call without pause",
        ("roll", "seconds", "calls/s before", "calls/s meanwhile", "failed", "came back", "most in 100 ms", "mean"),
        caption="SDK v2; `mooring roll` on `mooring up`; through Traefik; `retry:` heeded as the SDKs do",
    )
    seconds, kept, peaks, failed, curve = [], [], [], 0, list[float]()
    with running_cluster("v2", target=_SERVER) as cluster:
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            clients = Clients(http, cluster.base)
            async with clients.at_work(sessions):
                for number in range(rolls):
                    one = await _roll(cluster, clients)
                    result.rows.append((str(number + 1), *one.shown()))
                    seconds.append(one.seconds)
                    kept.append(one.rate / one.rate_before)
                    peaks += [peak / mean for peak, mean in one.windows]
                    failed += one.failed
                    curve = one.back
    result.figures += [
        Figure("roll of three nodes", Spread.of(seconds), "s", "ceiling", 30.0, 1),
        Figure("calls that failed while nodes were replaced", Spread.of([failed]), "", "ceiling", 0, 0),
        Figure("calls per second while nodes were replaced", Spread.of(kept), "of before", "floor", 0.5),
        Figure("listeners back: busiest 100 ms, against the mean", Spread.of([max(peaks)]), "", "ceiling", 3.0),
    ]
    if picture is not None:
        draw(curve, picture)
    return result


class Rolled:
    """What one roll came to.

    Attributes:
        back: when each listener came back, in seconds from the beginning.
        windows: for each node: the most that came back in any 100 ms, and the mean.
    """

    def __init__(self, seconds: float, rate_before: float, rate: float, failed: int, back: Sequence[float]) -> None:
        self.seconds, self.rate_before, self.rate, self.failed = seconds, rate_before, rate, failed
        self.back = sorted(back)
        self.windows = [(busiest(window), mean(window)) for window in windows(self.back)]

    def shown(self) -> tuple[str, ...]:
        rates = (f"{rate:,.0f}" for rate in (self.rate_before, self.rate))
        most = max(peak for peak, _ in self.windows)
        average = statistics.mean(mean for _, mean in self.windows)
        return (f"{self.seconds:.1f}", *rates, str(self.failed), str(len(self.back)), str(most), f"{average:.1f}")


def windows(times: Sequence[float]) -> list[list[float]]:
    """Those of each node, whose streams end together."""
    found: list[list[float]] = []
    for when in times:
        if not found or when - found[-1][-1] > _GAP_SECONDS:
            found.append([])
        found[-1].append(when)
    return found


def busiest(times: Sequence[float]) -> int:
    """The most in any 100 ms."""
    return max(bisect.bisect_left(times, begin + _STEP_SECONDS) - place for place, begin in enumerate(times))


def mean(times: Sequence[float]) -> float:
    """How many came back in 100 ms, over the whole window."""
    return len(times) * _STEP_SECONDS / max(times[-1] - times[0], _STEP_SECONDS)


class Clients:
    """Sessions that listen, and calls on them."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http, self._base = http, base
        self._raw = RawClient(http)
        self._sessions: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._listen = 0
        self._ids = itertools.count(2)
        self.calls, self.failed = 0, 0
        self.back: list[float] = []

    @contextlib.asynccontextmanager
    async def at_work(self, count: int) -> AsyncIterator[None]:
        """All of them have a session, and listen or call while this lasts."""
        try:
            await self._begin(count)
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin(self, count: int) -> None:
        room = asyncio.Semaphore(10)

        async def one() -> str:
            async with room:
                return await open_session(self._raw, self._base)

        self._sessions = await asyncio.gather(*(one() for _ in range(count)))
        self._tasks = [asyncio.create_task(self._listens(session)) for session in self._sessions]
        while self._listen < count:  # noqa: ASYNC110 - other processes are waited for
            await asyncio.sleep(0.05)
        self._tasks += [asyncio.create_task(self._call()) for _ in range(_CALLERS)]

    async def rate(self, seconds: float) -> float:
        before = self.calls
        await asyncio.sleep(seconds)
        return (self.calls - before) / seconds

    async def _listens(self, session: str) -> None:
        last, retry, is_back = "", 1000, False
        while True:
            headers = {**_LISTENS, "mcp-session-id": session} | ({"last-event-id": last} if last else {})
            if is_back:
                self.back.append(time.monotonic())
            async with self._http.get(f"{self._base}/mcp", headers=headers) as answer:
                self._listen += 1
                async for line in answer.content:
                    name, _, value = line.decode().strip().partition(": ")
                    last = value if name == "id" else last
                    retry = int(value) if name == "retry" else retry
            await asyncio.sleep(retry / 1000)
            is_back = True

    async def _call(self) -> None:
        while True:
            # No two requests of a session have one id, as the protocol wants it: one of them would have no answer.
            ping = {"jsonrpc": "2.0", "id": next(self._ids), "method": "ping"}
            reply = await self._raw.call(self._base, random.choice(self._sessions), body=ping, headers=VERSION)
            self.calls += 1
            self.failed += reply.status != 200 or "result" not in reply.json


async def _roll(cluster: Cluster, clients: Clients) -> Rolled:
    before = await clients.rate(_BEFORE_SECONDS)
    clients.back.clear()
    clients.failed, calls, began = 0, clients.calls, time.monotonic()
    said = await asyncio.to_thread(_said_by_roll, cluster)
    rate = (clients.calls - calls) / (time.monotonic() - began)
    found = _REPLACED.search(said)
    if found is None:
        raise RuntimeError(f"the roll did not end: {said[-1000:]}")
    # The last listeners come back after the last node is there.
    while clients.back and time.monotonic() - max(clients.back) < _GAP_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return Rolled(float(found[1]), before, rate, clients.failed, [when - began for when in clients.back])


def _said_by_roll(cluster: Cluster) -> str:
    command = [sys.executable, "-m", "mooring", "roll", "--run-dir", str(cluster.run_dir)]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    return ended.stdout + ended.stderr


def draw(times: Sequence[float], path: Path) -> None:
    """How many came back in each 100 ms, as a picture."""
    counts = [0] * (int(max(times) / _STEP_SECONDS) + 1)
    for when in times:
        counts[int(when / _STEP_SECONDS)] += 1
    console = Console(record=True, width=len(counts) + 6, file=io.StringIO())
    for height in range(max(counts), 0, -1):
        console.print(f"{height:>4} " + "".join("█" if count >= height else " " for count in counts), highlight=False)
    seconds = "".join(f"{second:<10}" for second in range(len(counts) // 10 + 1))
    console.print(f"     {seconds[: len(counts)]}", highlight=False)
    console.save_svg(str(path), title="listeners that come back in 100 ms, by seconds since `mooring roll` began")
