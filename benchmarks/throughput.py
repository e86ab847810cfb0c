"""One node with Mooring against the same app bare: calls per second, latency, and CPU time per call.

Twice: against the bare server as it comes, which is what an operator changes from, and against one whose garbage
collector is set as `mooring serve` sets it, which shows what Mooring itself costs. Against the latter stands the least
that any middleware in Python costs there as well (`benchmarks.least`): what lies between the two is Mooring's to save.

What else the machine does disturbs a single comparison far more than Mooring does, and two processes of the very same
server differ by some percent, by how their memory came to lie. So the servers take turns in blocks of a tenth of a
second, and each round has new processes. A round's value is that of all its blocks together, not of the median one: a
full collection of garbage falls into one block of many, and is a part of what is measured.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks import messages
from benchmarks.generator import Generator, generating
from benchmarks.processes import SECRET, Server, serving
from benchmarks.result import Figure, Result, Spread, percentile
from benchmarks.sessions import open_sessions
from mooring.core.handles import RANDOM_BYTES, Handles
from mooring.core.ids import is_shard

_CONNECTIONS = 8
_BLOCK_SECONDS = 0.1
_WARM_UP_SECONDS = 0.5
_FLOOR_AS_IT_COMES = 1.10
_CEILING_P99 = 0.5
_FLOOR_TUNED = 0.95
_FLOOR_WITH_A_HANDLE = 0.93
_CEILING_MS = 0.1

_BARE, _TUNED, _LEAST, _MOORED = "bare", "tuned bare", "least", "Mooring"
_SERVERS = (_BARE, _TUNED, _LEAST, _MOORED)

Requests = list[tuple[int, bytes]]


def _legacy(server: Server) -> Requests:
    """A session for each connection."""
    return [(server.port, messages.legacy_call(session)) for session in open_sessions(server.port, _CONNECTIONS)]


def _modern(server: Server) -> Requests:
    return [(server.port, messages.modern_call())] * _CONNECTIONS


def _with_a_handle(server: Server) -> Requests:
    """One on a shard of the server's own, which its sessions name. The bare server takes it for any text."""
    [session] = open_sessions(server.port, 1)
    shard = session.partition(".")[0]
    handles = Handles(SECRET)
    handle = handles.mint(shard if is_shard(shard) else "aaaaa", "browser", bytes(RANDOM_BYTES), survives=True)
    tool = {**messages.ADD, "arguments": {**messages.ADD["arguments"], "browser": handle}}
    return [(server.port, messages.modern_call(tool))] * _CONNECTIONS


_WITH_A_HANDLE = "modern, with a handle"
_ERAS: dict[str, Callable[[Server], Requests]] = {
    "legacy": _legacy,
    "modern": _modern,
    _WITH_A_HANDLE: _with_a_handle,
}


@dataclass(slots=True)
class Blocks:
    """What one server did in one round, all its blocks together."""

    server: Server
    requests: Requests
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU time of one call."""
        return self.cpu_seconds * 1000 / len(self.latencies_ms)

    def run(self, generator: Generator) -> None:
        before = self.server.cpu_seconds
        load = generator.run(self.requests, seconds=_BLOCK_SECONDS)
        self.cpu_seconds += self.server.cpu_seconds - before
        self.seconds += load.seconds
        self.latencies_ms += load.latencies_ms


@dataclass(slots=True)
class Quantity:
    """One value per round of what is compared: the bare server's own, and what Mooring makes of it."""

    bare: list[float] = field(default_factory=list)
    compared: list[float] = field(default_factory=list)

    def add(self, bare: float, compared: float) -> None:
        self.bare.append(bare)
        self.compared.append(compared)


@dataclass(slots=True)
class Comparison:
    """Mooring against one bare server. All are ratios but for the CPU time, which is what Mooring adds."""

    per_second: Quantity = field(default_factory=Quantity)
    p50_ms: Quantity = field(default_factory=Quantity)
    p99_ms: Quantity = field(default_factory=Quantity)
    cpu_ms: Quantity = field(default_factory=Quantity)

    def add(self, bare: Blocks, moored: Blocks) -> None:
        """One round."""
        self.per_second.add(bare.per_second, moored.per_second / bare.per_second)
        for quantity, share in ((self.p50_ms, 0.5), (self.p99_ms, 0.99)):
            latency = percentile(bare.latencies_ms, share)
            quantity.add(latency, percentile(moored.latencies_ms, share) / latency)
        self.cpu_ms.add(bare.cpu_ms, moored.cpu_ms - bare.cpu_ms)


Comparisons = dict[str, Comparison]
"""By the bare server that Mooring is set against; under `least` is that middleware against the tuned one."""


def run(*, quick: bool = False) -> Result:
    rounds, turns = (2, 6) if quick else (9, 16)
    result = Result(
        "throughput: one node with Mooring against the same app bare; ratios, and the CPU time that it adds",
        ("app, era", "", _BARE, "ratio", "noise", _TUNED, "ratio", "noise"),
        caption=f"{_CONNECTIONS} connections; {rounds} rounds of {turns} turns of blocks, all servers on one core; the "
        "garbage collector of all but the bare one is as `mooring serve` sets it; the least: calls/s with a middleware "
        "that does only what none in Python can leave out",
    )
    with generating() as generator:
        for era, compared in _measure("sdk_v2", generator, rounds, turns).items():
            label = f"SDK v2 {era}{' SSE' if era == 'legacy' else ''}"
            _report(label, compared, result)
            floor = _FLOOR_WITH_A_HANDLE if era == _WITH_A_HANDLE else _FLOOR_TUNED
            result.figures += _figures(label, compared, floor)
        # No target speaks of it, but this is Mooring's own cost at its clearest.
        for era, compared in _measure("instant", generator, rounds // 2, turns).items():
            _report(f"Starlette {era}", compared, result)
    return result


def _measure(app: str, generator: Generator, rounds: int, turns: int) -> dict[str, Comparisons]:
    measured: dict[str, Comparisons] = defaultdict(
        lambda: {_BARE: Comparison(), _TUNED: Comparison(), _LEAST: Comparison()}
    )
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            servers = {
                name: stack.enter_context(
                    serving(app, mooring=name == _MOORED, least=name == _LEAST, tuned=name != _BARE)
                )
                for name in _in_turn(number)
            }
            for era, requests in _ERAS.items():
                blocks = {name: Blocks(servers[name], requests(servers[name])) for name in _SERVERS}
                _take_turns(blocks, generator, turns)
                measured[era][_BARE].add(blocks[_BARE], blocks[_MOORED])
                measured[era][_TUNED].add(blocks[_TUNED], blocks[_MOORED])
                measured[era][_LEAST].add(blocks[_TUNED], blocks[_LEAST])
    return measured


def _in_turn(number: int) -> tuple[str, ...]:
    """Each server comes first, and at every other place, as often as the others."""
    first = number % len(_SERVERS)
    return _SERVERS[first:] + _SERVERS[:first]


def _take_turns(blocks: dict[str, Blocks], generator: Generator, turns: int) -> None:
    for one in blocks.values():
        generator.run(one.requests, seconds=_WARM_UP_SECONDS)
    for turn in range(turns):
        for name in _in_turn(turn):
            blocks[name].run(generator)


def _report(label: str, compared: Comparisons, result: Result) -> None:
    for title, name, digits, sign in (
        ("calls/s", "per_second", 0, ""),
        ("p50 ms", "p50_ms", 2, ""),
        ("p99 ms", "p99_ms", 2, ""),
        ("CPU ms/call", "cpu_ms", 3, "+"),
    ):
        cells: list[str] = []
        for against in (_BARE, _TUNED):
            comparison = compared[against]
            quantity: Quantity = getattr(comparison, name)
            spread = Spread.of(quantity.compared)
            of_ratio = 3 if sign else 2
            cells += [
                Spread.of(quantity.bare).text(digits),
                f"{spread.median:{sign}.{of_ratio}f}",
                spread.noise(of_ratio),
            ]
        result.rows.append((label, title, *cells))
        label = ""
    least = Spread.of(compared[_LEAST].per_second.compared)
    result.rows.append(("", "the least", "", "", "", "", f"{least.median:.2f}", least.noise(2)))


def _figures(label: str, compared: Comparisons, floor: float) -> list[Figure]:
    bare, tuned = compared[_BARE], compared[_TUNED]
    return [
        Figure(f"{label}: calls/s, ratio to bare", _of(bare.per_second), "", "floor", _FLOOR_AS_IT_COMES, digits=3),
        Figure(f"{label}: p99, ratio to bare", _of(bare.p99_ms), "", "ceiling", _CEILING_P99, digits=3),
        Figure(f"{label}: calls/s, ratio to tuned bare", _of(tuned.per_second), "", "floor", floor, digits=3),
        Figure(
            f"{label}: added CPU per call, to tuned bare", _of(tuned.cpu_ms), "ms", "ceiling", _CEILING_MS, digits=3
        ),
    ]


def _of(quantity: Quantity) -> Spread:
    return Spread.of(quantity.compared)
