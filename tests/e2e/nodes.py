"""Nodes as an operator starts them without `mooring up`: each a `mooring serve` of its own, on one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.bare import ROOT
from tests.e2e.clusters import environment
from tests.node.rpc import RawClient
from tests.redis_groups import wait_for

SECRET: Final = "sixteen or more of them"
STATUS_TOKEN: Final = "for-the-status-page"
_SERVES: Final = re.compile(r"^node \S+ serves (http://[^/\s]+)/", re.MULTILINE)


class ServedNode:
    """A running `mooring serve`.

    Args:
        source: the `src` of the Mooring that it runs.
        port: where it listens; 0 for one that is free. It may advertise another.
    """

    def __init__(
        self,
        name: str,
        target: str,
        folder: Path,
        variables: Mapping[str, str],
        source: Path,
        port: int = 0,
        python: str = sys.executable,
    ) -> None:
        self.name = name
        self._port = port
        self._log = folder / f"{name}.log"
        told = environment(variables) | {"MOORING_NODE_NAME": name, "MOORING_STATUS_TOKEN": STATUS_TOKEN}
        told |= {"MOORING_SECRET": SECRET, "PYTHONPATH": f"{source}:{ROOT}"}
        command = [python, "-m", "mooring", "serve", str(ROOT / target), "--port", str(port)]
        command += ["--stop-seconds", "2"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=told, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def url(self) -> str:
        found = _SERVES.search(self.log)
        if found is None:
            return ""
        return f"http://127.0.0.1:{self._port}" if self._port else found[1]

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.log
            return self.url != ""

        wait_for(is_ready)

    async def status(self, raw: RawClient) -> dict[str, Any]:
        """What its status page says."""
        reply = await raw.send("GET", f"{self.url}/mooring/status", headers={"authorization": f"Bearer {STATUS_TOKEN}"})
        status: dict[str, Any] = reply.json
        return status

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def serving_nodes(
    target: str,
    variables: Mapping[str, str],
    sources: Mapping[str, Path],
    own: Mapping[str, Mapping[str, str]] | None = None,
    ports: Mapping[str, int] | None = None,
    python: str = sys.executable,
) -> Iterator[list[ServedNode]]:
    """One node of each name, on the same Redis, in this order.

    Args:
        own: the variables of one alone, by its name.
        ports: where they listen, by name.
        python: the interpreter of the environment that they run in.
    """
    with tempfile.TemporaryDirectory(prefix="mooring-nodes-") as folder, contextlib.ExitStack() as running:
        nodes = []
        for name, source in sources.items():
            told = {**variables, **(own or {}).get(name, {})}
            node = ServedNode(name, target, Path(folder), told, source, (ports or {}).get(name, 0), python)
            running.callback(node.stop)
            nodes.append(node)
        for node in nodes:
            node.wait_until_ready()
        yield nodes


async def stopped(node: ServedNode, how: signal.Signals) -> None:
    await asyncio.to_thread(node.stop, how)
