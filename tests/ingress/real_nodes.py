"""Real backends for an ingress: processes that know nothing of Mooring.

They are forked from a process that has imported all that they need: a test starts many of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from tests.ingress import backend

_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([backend.__name__])


@dataclass(slots=True)
class RealBackend:
    """One `tests.ingress.backend` process, which can be killed and started again at the same address."""

    name: str
    ledger: Path
    port: int = 0
    process: BaseProcess | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """If it is not running."""
        if self.process is None or not self.process.is_alive():
            await asyncio.to_thread(self._start)

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            await asyncio.to_thread(self.process.join)

    def _start(self) -> None:
        hears, tells = _PROCESSES.Pipe(duplex=False)
        arguments = (self.name, self.ledger, self.port, tells)
        self.process = _PROCESSES.Process(target=backend.serve, args=arguments, daemon=True)
        self.process.start()
        self.port = hears.recv()


@contextlib.asynccontextmanager
async def backends(*names: str, ledger: Path = Path(os.devnull)) -> AsyncIterator[dict[str, RealBackend]]:
    """They are killed in the end; `ledger` is where they write what they hold."""
    nodes = {name: RealBackend(name, ledger) for name in names}
    try:
        for node in nodes.values():
            await node.start()
        yield nodes
    finally:
        for node in nodes.values():
            await node.kill()
