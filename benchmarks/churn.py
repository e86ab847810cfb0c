"""Sessions that come and go, for a long time: the memory of a node with each setting of `gc`.

Two nodes as an operator starts them, with the same sessions, by turns. Each session is opened, used, kept while some
hundred others come, and ended: what it leaves in cycles is old by then, and waits longest for a collection.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import psutil

from benchmarks.processes import node
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import Client

_TARGET: Final = "tests.servers.everything_v2:server"
_TOOL: Final = {"name": "echo", "arguments": {"text": "churn"}}
_KEPT: Final = 300
"""Sessions that are open at any time."""

_SETTINGS: Final = ("python", "server")
_SHOWN_AT: Final = (0.1, 0.25, 0.5, 0.75, 1.0)
_CEILING_MIB: Final = 8.0
_GROWTH_CEILING_MIB: Final = 2.0


@dataclass(slots=True)
class Churn:
    """One node and its sessions."""

    client: Client
    pid: int
    kept: deque[str] = field(default_factory=deque)
    ended: int = 0
    # Seconds since the start, and the MiB in RAM then.
    samples: list[tuple[float, float]] = field(default_factory=list)

    def turn(self) -> None:
        """One session comes, and one goes."""
        session = self.client.open()
        for _ in range(2):
            self.client.call(session, _TOOL)
        self.kept.append(session)
        if len(self.kept) > _KEPT:
            oldest = self.kept.popleft()
            self.client.call(oldest, _TOOL)
            self.client.end(oldest)
            self.ended += 1

    def sample(self, seconds: float) -> None:
        self.samples.append((seconds, psutil.Process(self.pid).memory_info().rss / 1024**2))

    def most(self, since: float, until: float) -> float:
        """The most memory in a part of the time, in MiB."""
        return max(mib for seconds, mib in self.samples if since <= seconds <= until)


def run(*, quick: bool = False, seconds: float | None = None) -> Result:
    seconds = seconds or (20.0 if quick else 60.0)
    with redis_server() as url, contextlib.ExitStack() as stack:
        churns = {setting: stack.enter_context(_churning(url, setting)) for setting in _SETTINGS}
        _take_turns(list(churns.values()), seconds)
    return _report(churns, seconds)


@contextlib.contextmanager
def _churning(url: str, setting: str) -> Iterator[Churn]:
    of_node = {"redis_url": url, "node_name": f"gc-{setting}", "gc": setting}
    with node(_TARGET, **of_node) as server, contextlib.closing(Client(server.port)) as client:
        yield Churn(client, server.process.pid)


def _take_turns(churns: list[Churn], seconds: float) -> None:
    started = time.monotonic()
    sampled = 0.0
    while (passed := time.monotonic() - started) < seconds:
        for churn in churns:
            churn.turn()
        if passed - sampled >= min(1.0, seconds / 100):
            sampled = passed
            for churn in churns:
                churn.sample(passed)


def _report(churns: dict[str, Churn], seconds: float) -> Result:
    python, server = (churns[setting] for setting in _SETTINGS)
    result = Result(
        f"churn: MiB of a node whose sessions come and go, for {seconds:,.0f} s",
        ("most memory until", *(f"gc = {setting}" for setting in _SETTINGS)),
        caption=f"RSS; {server.ended:,} sessions ended on each, {_KEPT} open at any time; SDK v2, records in Redis",
    )
    since = 0.0
    for share in _SHOWN_AT:
        shown = (f"{churn.most(since, share * seconds):,.1f}" for churn in churns.values())
        result.rows.append((f"{share:.0%}", *shown))
        since = share * seconds
    growths = [churn.most(seconds / 2, seconds) - churn.most(0.1 * seconds, seconds / 2) for churn in (python, server)]
    result.rows.append(("growth from the first half to the second", *(f"{growth:+,.1f}" for growth in growths)))
    added = server.most(0, seconds) - python.most(0, seconds)
    result.figures += [
        Figure("memory that gc = server takes", _single(added), "MiB", "ceiling", _CEILING_MIB, digits=1),
        Figure("its growth, second half of the time", _single(growths[1]), "MiB", "ceiling", _GROWTH_CEILING_MIB, 1),
    ]
    return result


def _single(value: float) -> Spread:
    return Spread(value, value, value)
