"""One node with Mooring against the same app bare: calls per second, and CPU time per call.

What else the machine does disturbs a single comparison far more than Mooring does, and two processes of the very same
server differ by some percent, by how their memory came to lie. So the two servers take turns in blocks of a tenth of
a second, the median of the pairs is one round's value, and each round has new processes.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import messages
from benchmarks.generator import Generator, generating
from benchmarks.processes import Server, serving
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import open_sessions

_CONNECTIONS = 8
_BLOCK_SECONDS = 0.1
_WARM_UP_SECONDS = 0.5
_FLOOR = 0.95
_CEILING_MS = 0.1

Requests = list[tuple[int, bytes]]


def _legacy(server: Server) -> Requests:
    """A session for each connection."""
    return [(server.port, messages.legacy_call(session)) for session in open_sessions(server.port, _CONNECTIONS)]


def _modern(server: Server) -> Requests:
    return [(server.port, messages.modern_call())] * _CONNECTIONS


_ERAS: dict[str, Callable[[Server], Requests]] = {"legacy": _legacy, "modern": _modern}


@dataclass(slots=True)
class Blocks:
    """What one server did in one round, block by block."""

    server: Server
    requests: Requests
    per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def run(self, generator: Generator) -> None:
        before = self.server.cpu_seconds
        load = generator.run(self.requests, seconds=_BLOCK_SECONDS)
        self.cpu_ms.append((self.server.cpu_seconds - before) * 1000 / load.calls)
        self.per_second.append(load.per_second)


@dataclass(slots=True)
class Rounds:
    """One value of each kind per round, the median of its pairs."""

    bare_per_second: list[float] = field(default_factory=list)
    bare_cpu_ms: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)
    added_cpu_ms: list[float] = field(default_factory=list)

    def add(self, bare: Blocks, moored: Blocks) -> None:
        self.bare_per_second.append(Spread.of(bare.per_second).median)
        self.bare_cpu_ms.append(Spread.of(bare.cpu_ms).median)
        self.ratio.append(Spread.of(b / a for a, b in zip(bare.per_second, moored.per_second, strict=True)).median)
        self.added_cpu_ms.append(Spread.of(b - a for a, b in zip(bare.cpu_ms, moored.cpu_ms, strict=True)).median)


def run(*, quick: bool = False) -> Result:
    rounds, pairs = (2, 6) if quick else (9, 16)
    result = Result(
        "throughput: calls/s, and CPU ms per call, of one node with Mooring against the same app bare",
        ("app, era", "bare/s", "ratio", "noise", "bare ms", "added ms", "noise"),
        caption=f"{_CONNECTIONS} connections; {rounds} rounds of {pairs} pairs of blocks, both servers on one core",
    )
    with generating() as generator:
        for era, measured in _measure("sdk_v2", generator, rounds, pairs).items():
            label = f"SDK v2 {era}{' SSE' if era == 'legacy' else ''}"
            _report(label, measured, result)
            result.figures += _figures(label, measured)
        # No target speaks of it, but this is Mooring's own cost at its clearest.
        for era, measured in _measure("instant", generator, rounds // 2, pairs).items():
            _report(f"bare Starlette {era}", measured, result)
    return result


def _measure(app: str, generator: Generator, rounds: int, pairs: int) -> dict[str, Rounds]:
    measured: dict[str, Rounds] = defaultdict(Rounds)
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            order = (False, True) if number % 2 else (True, False)
            servers = {mooring: stack.enter_context(serving(app, mooring=mooring)) for mooring in order}
            for era, requests in _ERAS.items():
                bare = Blocks(servers[False], requests(servers[False]))
                moored = Blocks(servers[True], requests(servers[True]))
                _take_turns(bare, moored, generator, pairs)
                measured[era].add(bare, moored)
    return measured


def _take_turns(bare: Blocks, moored: Blocks, generator: Generator, pairs: int) -> None:
    for blocks in (bare, moored):
        generator.run(blocks.requests, seconds=_WARM_UP_SECONDS)
    for turn in range(pairs):
        for blocks in (bare, moored) if turn % 2 else (moored, bare):
            blocks.run(generator)


def _report(label: str, measured: Rounds, result: Result) -> None:
    ratio, added = Spread.of(measured.ratio), Spread.of(measured.added_cpu_ms)
    result.rows.append(
        (
            label,
            Spread.of(measured.bare_per_second).text(0),
            ratio.text(3),
            ratio.noise(3),
            Spread.of(measured.bare_cpu_ms).text(3),
            added.text(3),
            added.noise(3),
        )
    )


def _figures(label: str, measured: Rounds) -> list[Figure]:
    ratio, added = Spread.of(measured.ratio), Spread.of(measured.added_cpu_ms)
    return [
        Figure(f"{label}: calls/s, ratio to bare", ratio, "", "floor", _FLOOR, digits=3),
        Figure(f"{label}: added CPU per call", added, "ms", "ceiling", _CEILING_MS, digits=3),
    ]
