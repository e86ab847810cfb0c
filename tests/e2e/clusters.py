"""A whole cluster as an operator starts it: `mooring up` in a process of its own, with all its real parts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import psutil

from mooring.cli.chosen_cluster import find_cluster, opened_registry
from mooring.cli.status import status_as_json
from mooring.core.model import NodeState
from tests.bare import ROOT, ServerKind, python_for
from tests.ports import free_port
from tests.waiting import until

TARGETS: Final[dict[ServerKind, str]] = {
    "v1": "tests/servers/everything_v1.py:app",
    "v2": "tests/servers/everything_v2.py:app",
    "fastmcp": "tests/servers/everything_fastmcp.py:app",
}
_READY = re.compile(r"^ready: (http://\S+/mcp)$", re.MULTILINE)
_START_SECONDS: Final = 200.0

_SHOWN: Final = 60_000
_STATUS_SECONDS: Final = 120.0
_LONGEST_LEASE_SECONDS: Final = 2.0
_UNDER_WAY_SECONDS: Final = 0.1
"""A renewal that arrives after the question may have been written before it."""
_LIVING: Final = (NodeState.READY, NodeState.DEGRADED)


class Cluster:
    """A running `mooring up`, and what its operator can do with it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.run_dir = folder / "run"
        self.url = ""
        self._log = folder / "up.log"

    @property
    def base(self) -> str:
        """The ingress, without the MCP path."""
        return self.url.removesuffix("/mcp")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def status(self) -> dict[str, Any]:
        """What `mooring status --json` prints, once each node has said what it has done until now.

        Without a process, which imports for longer than it asks; in a thread, since most tests have a loop that runs.
        """
        with ThreadPoolExecutor(1) as beside:
            return beside.submit(lambda: asyncio.run(_status(self.run_dir))).result(_STATUS_SECONDS)

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive, by name."""
        return [node for node in self.status()["nodes"] if node["state"] in _LIVING]

    def owner_of(self, session_id: str) -> dict[str, Any]:
        shard = session_id.partition(".")[0]
        return next(node for node in self.status()["nodes"] if shard in node["shards"])

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not (found := _READY.search(self.log)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the cluster did not start:\n{self.log}")
            time.sleep(0.05)
        self.url = found[1]

    def stop(self) -> int:
        """SIGTERM, as an operator would; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    async def until_nodes(self, count: int, *, seconds: float = 120.0) -> list[dict[str, Any]]:
        """The nodes, once that many are alive."""

        async def there() -> list[dict[str, Any]]:
            nodes = await asyncio.to_thread(self.nodes)
            return nodes if len(nodes) == count else []

        return await until(there, what=f"{count} nodes", seconds=seconds)


async def _status(run_dir: Path) -> dict[str, Any]:
    """Nodes that hang or are cut off are not waited for any longer than until their leases would be over."""
    cluster, began = find_cluster(run_dir, {}), time.monotonic()
    async with opened_registry(cluster) as registry:
        while True:
            nodes = await registry.nodes()
            renewed_within = time.monotonic() - began - _UNDER_WAY_SECONDS
            old = [node for node in nodes if node.state in _LIVING and node.lease_age_seconds > renewed_within]
            if not old or renewed_within > _LONGEST_LEASE_SECONDS:
                return status_as_json(cluster, nodes)
            await asyncio.sleep(0.05)


def child(cluster: Cluster, *names: str) -> psutil.Process:
    """The cluster's own process of one of these programs."""
    children = psutil.Process(cluster.process.pid).children(recursive=True)
    return next(process for process in children if any(name in process.name() for name in names))


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a cluster's process is told: the programs of the environment that brings them are on its PATH."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOORING_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        **inherited,
        "PATH": path,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "COLUMNS": "160",
        **(more or {}),
    }


@contextlib.contextmanager
def running_cluster(
    kind: str,
    *flags: str,
    target: str | None = None,
    nodes: int = 3,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """`mooring up` on one of the test servers, in that SDK's own environment."""
    python = python_for(kind)
    with tempfile.TemporaryDirectory(prefix="mooring-e2e-") as name:
        folder = Path(name)
        command = [python, "-m", "mooring", "up", target or TARGETS[cast(ServerKind, kind)]]
        options = ["--nodes", str(nodes), "--port", str(free_port()), "--run-dir", str(folder / "run")]
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, *options, *flags], cwd=ROOT, env=environment(variables or {}), stdout=log, stderr=log
            )
        cluster = Cluster(process, folder)
        try:
            cluster.wait_until_ready()
            yield cluster
        finally:
            cluster.stop()
            print("--- mooring up", cluster.log[-_SHOWN:], sep="\n")  # with a test that fails
