"""The same clients, server, balancer and SIGKILL for Mooring and for mcp-persist, side by side.

Two nodes on one Redis, each request to the next of them that is well. Official clients with a session each call
without pause; one node is killed in the middle; the clients' book is held against the server's ledger, as in the tests
of chaos. mcp-persist keeps events and sessions in Redis, and lets every node serve every session.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
from tests.bare import ROOT
from tests.chaos.balancer import balancing
from tests.chaos.clients import Callers, more_calls
from tests.e2e.clusters import environment
from tests.ports import free_port
from tests.real_redis import RealRedis, real_redis
from tests.waiting import until

from benchmarks.result import Result

_PYTHON: Final = ROOT / ".venv-rivals/bin/python"
_SERVER: Final = "tests/servers/ledger_v2.py:server"
_MOST_SECONDS: Final = 240.0


@dataclass
class Deployed:
    """
    Attributes:
        path: of the endpoint.
    """

    urls: list[str]
    nodes: list[subprocess.Popen[bytes]]
    path: str


@contextlib.asynccontextmanager
async def _started(
    commands: list[list[str]], variables: list[dict[str, str]], ports: list[int], path: str
) -> AsyncIterator[Deployed]:
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    with contextlib.ExitStack() as stack:
        nodes = []
        for command, told in zip(commands, variables, strict=True):
            node = subprocess.Popen(
                command, cwd=ROOT, env=environment(told), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(node.wait)
            stack.callback(node.kill)
            nodes.append(node)

        async def are_well() -> bool:
            async with httpx2.AsyncClient() as http:
                try:
                    return all([(await http.get(f"{url}/healthz")).status_code == 200 for url in urls])
                except httpx2.HTTPError:
                    return False

        await until(are_well, what="both nodes to be well", seconds=60)
        yield Deployed(urls, nodes, path)


def _mooring(redis: RealRedis, ledger: Path) -> AbstractAsyncContextManager[Deployed]:
    ports = [free_port(), free_port()]
    serve = [sys.executable, "-m", "mooring", "serve", _SERVER, "--port"]
    told = {"LEDGER": str(ledger), "MOORING_REDIS_URL": redis.url, "MOORING_SECRET": "sixteen or more of them"}
    return _started([[*serve, str(port)] for port in ports], [told] * 2, ports, "/mcp")


def _mcp_persist(redis: RealRedis, ledger: Path) -> AbstractAsyncContextManager[Deployed]:
    if not _PYTHON.exists():
        raise FileNotFoundError(f"{_PYTHON.relative_to(ROOT)} is missing: run `make bench`, which makes it")
    ports = [free_port(), free_port()]
    serve = [str(_PYTHON), "-m", "uvicorn", "benchmarks.rival_app:app", "--log-level", "error", "--port"]
    told = {"LEDGER": str(ledger), "REDIS_URL": redis.url, "PYTHONPATH": str(ROOT)}
    return _started([[*serve, str(port)] for port in ports], [told] * 2, ports, "/mcp/")


_ALL: Final[dict[str, Callable[[RealRedis, Path], AbstractAsyncContextManager[Deployed]]]] = {
    "Mooring": _mooring,
    "mcp-persist": _mcp_persist,
}
_ROWS: Final = (
    "clients",
    "calls",
    "calls/s before the kill",
    "Redis commands a call",
    "answered",
    "told: outcome unknown",
    "cut off (502)",
    "no answer, or a wrong one",
    "clients that gave up",
    "carried out twice",
    "answered, and never carried out",
    "progress never heard",
    "progress heard twice",
)


def run(*, quick: bool = False) -> Result:
    clients, calls = (10, 150) if quick else (20, 600)
    return asyncio.run(_run(clients, calls))


async def _run(clients: int, calls: int) -> Result:
    result = Result(
        "rivals: two nodes, one of which is killed while clients call",
        ("", *_ALL),
        caption="SDK v2; each request to the next node; slow and quick tools, with progress; no answer within 45 s "
        "counts as none",
    )
    found = [await _one(deploy, clients, calls) for deploy in _ALL.values()]
    result.rows = [(name, *(one[name] for one in found)) for name in _ROWS]
    return result


async def _one(
    deploy: Callable[[RealRedis, Path], AbstractAsyncContextManager[Deployed]], clients: int, calls: int
) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="mooring-rivals-") as folder:
        ledger = Path(folder) / "ledger"
        ledger.touch()
        async with (
            real_redis() as redis,
            deploy(redis, ledger) as deployed,
            balancing(deployed.urls, deployed.path) as connection,
        ):
            callers = Callers(connection, clients, listens=False)
            running = asyncio.create_task(callers.run())
            await until(callers.are_open, what="all clients to have a session", seconds=60)
            commands, made, began = await _commands(redis), callers.calls, time.monotonic()
            await more_calls(callers, calls)
            rate = (callers.calls - made) / (time.monotonic() - began)
            sent = (await _commands(redis) - commands) / (callers.calls - made)
            deployed.nodes[0].kill()
            await more_calls(callers, calls, seconds=_MOST_SECONDS)
            callers.stop()
            await asyncio.wait_for(running, _MOST_SECONDS)
        book = callers.book
        verdict = book.verdict(ledger)
        values = (
            clients,
            callers.calls,
            f"{rate:.0f}",
            f"{sent:.1f}",
            len(book.answered),
            len(book.unknown),
            len(book.cut),
            len(book.wrong),
            len(book.died),
            *(
                len(verdict.get(what, ()))
                for what in ("carried out twice", "answered, and never carried out", "never heard", "heard twice")
            ),
        )
        return dict(zip(_ROWS, map(str, values), strict=True))


async def _commands(redis: RealRedis) -> int:
    async with redis.client() as client:
        return int((await client.info("stats"))["total_commands_processed"])
