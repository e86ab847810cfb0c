"""Child processes, each on a core of its own where there are several, and what they use of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import psutil

from benchmarks.serving import SETTLE_PATH

SECRET: Final = "a secret for benchmarks, nowhere else"


def cores() -> list[int]:
    """The cores that we may use; empty where they cannot be chosen."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def pin(pid: int, turn: int) -> None:
    """Keep a process on one core. `turn`: 0 is the first, -1 the last; does nothing where there is but one."""
    available = cores()
    if len(available) > 1:
        os.sched_setaffinity(pid, {available[turn % len(available)]})


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its threads: by its own clock on Linux, else in the system's coarser ticks."""
    if sys.platform == "linux":
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python has for threads alone
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass(slots=True)
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)

    def settled_bytes(self) -> int:
        """Memory that is this process's alone, after it freed what it could."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", SETTLE_PATH)
        connection.getresponse().read()
        connection.close()
        return int(psutil.Process(self.process.pid).memory_full_info().uss)


@contextlib.contextmanager
def serving(
    app: str, *, mooring: bool, least: bool = False, tuned: bool = False, core: int = 0, **settings: object
) -> Iterator[Server]:
    """A server of `benchmarks.serving`. `settings` of the node: `redis_url` and so on."""
    flags = [f"--{name}" for name, is_set in (("mooring", mooring), ("least", least), ("tuned", tuned)) if is_set]
    with running([sys.executable, "-m", "benchmarks.serving", app, *flags], _environment(settings)) as process:
        pin(process.pid, core)
        yield Server(process, int(first_line(process, "the server")))


@contextlib.contextmanager
def node(target: str, **settings: object) -> Iterator[Server]:
    """A node as an operator starts it."""
    arguments = [sys.executable, "-m", "mooring", "serve", target, "--port", "0", "--log-level", "warning"]
    with running(arguments, _environment(settings)) as process:
        pin(process.pid, 0)
        said = first_line(process, "`mooring serve`")
        port = urlsplit(said.split()[-1]).port
        assert port is not None, said
        yield Server(process, port)


def _environment(settings: dict[str, object]) -> dict[str, str]:
    return {"MOORING_SECRET": SECRET, **{f"MOORING_{name.upper()}": str(value) for name, value in settings.items()}}


@contextlib.contextmanager
def running(arguments: Sequence[str], environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A child that is spoken to through its standard input and output, and is gone afterwards."""
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str], what: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{what} did not start; its own words are above")
    return line
