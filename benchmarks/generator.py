"""The load generator as a benchmark drives it."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import first_line, pin, running


@dataclass(frozen=True, slots=True)
class Load:
    """What the generator measured in one job; `latencies_ms` has one for each call."""

    seconds: float
    latencies_ms: list[float]

    @property
    def calls(self) -> int:
        return len(self.latencies_ms)

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds

    @property
    def median_ms(self) -> float:
        return statistics.median(self.latencies_ms)


class Generator:
    """The load generator's process, one job at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self, requests: Sequence[tuple[int, bytes]], *, seconds: float = 600.0, calls: int = 0, expect: str = '"result"'
    ) -> Load:
        """Send each request over a connection of its own, to its port, again and again."""
        assert self._process.stdin is not None
        order: dict[str, Any] = {
            "requests": [(port, request.decode("latin-1")) for port, request in requests],
            "seconds": seconds,
            "calls": calls,
            "expect": expect,
        }
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer = json.loads(first_line(self._process, "the load generator"))
        if "error" in answer:
            raise RuntimeError(f"a call failed: {answer['error']}")
        return Load(answer["seconds"], answer["latencies_ms"])


@contextlib.contextmanager
def generating(core: int = -1) -> Iterator[Generator]:
    with running([sys.executable, "-m", "benchmarks.load"]) as process:
        pin(process.pid, core)
        yield Generator(process)
