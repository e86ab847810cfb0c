"""`python -m benchmarks [NAME...] [--quick] [--seconds N] [--picture FILE]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import (
    churn,
    diagnosis,
    forwarding,
    handles,
    heartbeat,
    hibernation,
    in_process,
    memory,
    middleware_cost,
    redis_silence,
    relay,
    rivals,
    rolling,
    state,
    survival,
    throughput,
)
from benchmarks.report import make_console, show_result, show_summary
from benchmarks.result import Figure, Result

_BENCHMARKS = {
    "redis_silence": redis_silence.run,
    "heartbeat": heartbeat.run,
    "throughput": throughput.run,
    "forwarding": forwarding.run,
    "relay": relay.run,
    "memory": memory.run,
    "churn": churn.run,
    "in_process": in_process.run,
    "middleware_cost": middleware_cost.run,
    "diagnosis": diagnosis.run,
    "survival": survival.run,
    "state": state.run,
    "rolling": rolling.run,
    "hibernation": hibernation.run,
    "handles": handles.run,
    "rivals": rivals.run,
}


def main() -> int:
    """0 unless a benchmark could not be run: no figure fails a run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What Mooring costs, as ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(_BENCHMARKS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, and more noise")
    parser.add_argument("--seconds", type=float, help="how long churn goes on, 60 by default; 3600 tells most")
    parser.add_argument("--picture", type=Path, help="an SVG file that rolling draws when listeners came back")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in _BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]}; there are {', '.join(_BENCHMARKS)}")
    benchmarks: dict[str, Callable[..., Result]] = {
        **_BENCHMARKS,
        "churn": partial(churn.run, seconds=chosen.seconds),
        "rolling": partial(rolling.run, picture=chosen.picture),
    }
    _forget_settings()
    console = make_console()
    figures: list[Figure] = []
    failed = False
    started = time.monotonic()
    for name in chosen.names or _BENCHMARKS:
        try:
            result = benchmarks[name](quick=chosen.quick)
        except Exception as error:
            console.print_exception()
            console.print(f"{name} could not be run: {error}", markup=False)
            failed = True
            continue
        show_result(console, result)
        figures += result.figures
    if figures:
        show_summary(console, figures)
    console.print(f"{time.monotonic() - started:.0f} s")
    return 1 if failed else 0


def _forget_settings() -> None:
    """What is measured is Mooring as it comes: the settings of whoever runs this are another node's."""
    for name in [name for name in os.environ if name.startswith("MOORING_")]:
        del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
