"""Ends the process groups that it was told of, once the pipe on its standard input closes. See `leash`.

Runs as a program of its own, with little of the standard library, so that it starts in some 20 ms and stays small.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Final

GRACE_SECONDS: Final = 2.0


def watch(parent: int) -> None:
    """Read `+group` and `-group`, a line each, from `parent` until it closes; then end the groups that are left."""
    groups: set[int] = set()
    pending = b""
    while data := os.read(parent, 4096):
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            (groups.add if line.startswith(b"+") else groups.discard)(int(line[1:]))
    end(groups)


def end(groups: set[int]) -> None:
    """SIGTERM, and SIGKILL to what remains after the grace."""
    left = {group for group in groups if send(group, signal.SIGTERM)}
    deadline = time.monotonic() + GRACE_SECONDS
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = {group for group in left if send(group, 0)}
    for group in left:
        send(group, signal.SIGKILL)


def send(group: int, signal_number: int) -> bool:
    """Send to a process group; returns whether there was any process in it."""
    try:
        os.killpg(group, signal_number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter where only zombies are left
        return False
    return True


if __name__ == "__main__":
    watch(sys.stdin.fileno())
