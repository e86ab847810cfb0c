"""Free ports for servers that have to be told theirs.

They lie below those that the kernel gives to outgoing connections, which would take one before its server binds it;
and each process of a parallel run has a part of its own.
"""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Final

_FIRST: Final = 12_000
_EACH: Final = 1_600
_PARTS: Final = 12


def free_port() -> int:
    """One that nobody listens on, and that this process was not given before, if it can be helped."""
    return next(port for port in _NEXT if _is_free(port))


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def _ports(worker: str) -> Iterator[int]:
    part = int(worker.removeprefix("gw") or random.randrange(_PARTS)) % _PARTS
    ports = range(_FIRST + part * _EACH, _FIRST + (part + 1) * _EACH)
    begin = random.randrange(_EACH)  # another run may be at work on this machine
    return itertools.cycle([*ports[begin:], *ports[:begin]])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_NEXT: Final = _ports(os.environ.get("PYTEST_XDIST_WORKER", ""))
