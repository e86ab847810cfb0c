"""Memory of an idle session: what each one adds to the server's own memory, with Mooring minus bare.

Many sessions at once, since Python takes memory from the system by the MiB; garbage is collected and free memory
given back before and after. The node's records are in Redis, as in a cluster.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from benchmarks.processes import Server, serving
from benchmarks.redis_process import redis_server
from benchmarks.result import Figure, Result, Spread
from benchmarks.sessions import open_sessions

_CEILING_KIB = 4.0
_FIRST = 200
"""Opened before anything is measured: what is loaded and cached once is no session's."""


def run(*, quick: bool = False) -> Result:
    rounds, count = (1, 1000) if quick else (4, 2000)
    bare, moored = [], []
    for _ in range(rounds):
        with _bare() as server:
            bare.append(_kib_per_session(server, count))
        with _moored() as server:
            moored.append(_kib_per_session(server, count))
    added = Spread.of(after - before for before, after in zip(bare, moored, strict=True))
    result = Result(
        "memory: an idle session of SDK v2",
        ("KiB per session", "median", "noise"),
        caption=f"{count:,} sessions, after {_FIRST} others; {rounds} rounds of new processes; USS",
        figures=[Figure("memory per idle session: added", added, "KiB", "ceiling", _CEILING_KIB)],
    )
    result.add_row("bare", Spread.of(bare))
    result.add_row("with Mooring", Spread.of(moored))
    result.add_row("added", added)
    return result


@contextlib.contextmanager
def _bare() -> Iterator[Server]:
    with serving("sdk_v2", mooring=False) as server:
        yield server


@contextlib.contextmanager
def _moored() -> Iterator[Server]:
    with redis_server() as url, serving("sdk_v2", mooring=True, redis_url=url) as server:
        yield server


def _kib_per_session(server: Server, count: int) -> float:
    open_sessions(server.port, _FIRST)
    before = server.settled_bytes()
    open_sessions(server.port, count)
    return (server.settled_bytes() - before) / count / 1024
