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
_START_SECONDS: Final = 200.0
"""Several interpreters start at once, on a machine that may be busy."""
_SERVES: Final = re.compile(r"^node \S+ serves (http://[^/\s]+)/", re.MULTILINE)


class ServedNode:
    """A running `mooring serve`.

    Args:
        source: the `src` of the Mooring that it runs.
        port: where it listens; 0 for one that is free. It may advertise another.
        stop_seconds: how long it may take to end.
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
        stop_seconds: float = 2,
    ) -> None:
        self.name = name
        self._stop_seconds = stop_seconds
        self._port = port
        self._log = folder / f"{name}.log"
        told = environment(variables) | {"MOORING_NODE_NAME": name, "MOORING_STATUS_TOKEN": STATUS_TOKEN}
        told |= {"PYTHONPATH": f"{source}:{ROOT}"}
        if "MOORING_SECRET_FILE" not in variables:
            told["MOORING_SECRET"] = SECRET
        self._command = [python, "-m", "mooring", "serve", str(ROOT / target), "--port", str(port)]
        self._command += ["--stop-seconds", str(stop_seconds)]
        self._told = told
        self.start()

    def start(self) -> None:
        """Begin, or begin again where it has ended, as the same node by name and port."""
        self._since = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, cwd=self._log.parent, env=self._told, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def url(self) -> str:
        found = _SERVES.search(self._log.read_bytes()[self._since :].decode(errors="replace"))
        if found is None:
            return ""
        return f"http://127.0.0.1:{self._port}" if self._port else found[1]

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.log
            return self.url != ""

        wait_for(is_ready, _START_SECONDS)

    async def status(self, raw: RawClient) -> dict[str, Any]:
        """What its status page says."""
        reply = await raw.send("GET", f"{self.url}/mooring/status", headers={"authorization": f"Bearer {STATUS_TOKEN}"})
        status: dict[str, Any] = reply.json
        return status

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        try:
            self.process.wait(10 + 2 * self._stop_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def end(self) -> None:
        """At once: what a node does before it ends is for tests that ask for it."""
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
            running.callback(node.end)
            nodes.append(node)
        for node in nodes:
            node.wait_until_ready()
        yield nodes


async def stopped(node: ServedNode, how: signal.Signals) -> None:
    await asyncio.to_thread(node.stop, how)
