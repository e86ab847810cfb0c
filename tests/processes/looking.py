"""Small real children, and what is left of processes."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import psutil

from mooring.processes.child import Command

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
FOREVER = "import time; print('up', flush=True); time.sleep(1000)"


def python(program: str, *, name: str = "child", stop_seconds: float = 5.0, **environment: str) -> Command:
    """A child that runs `program`."""
    return Command(name, (sys.executable, "-I", "-S", "-c", program), environment, stop_seconds)


def with_grandchild(program: str) -> str:
    """A program that first starts a child of its own and prints its process id."""
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
    start = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-I', '-S', '-c', {child!r}]); "
    return f"{start}print(p.pid, flush=True); {program}"


def running(pids: Iterable[int]) -> set[int]:
    """Those that are there and no zombies."""
    return {pid for pid in pids if _is_running(pid)}


def _is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
