"""`mooring serve` in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.bare import ROOT

COUNTER = str(ROOT / "examples/counter.py") + ":server"
_START_SECONDS = 200.0
_STOP_SECONDS = 10.0


@dataclass
class ServedNode:
    """A node that is ready; `said` has what it printed until then, `url` the MCP endpoint that it named."""

    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.said[-1].split(" serves ")[1]

    async def stop(self, signal_number: int) -> tuple[int, str]:
        """Its exit code and what it logged."""
        self.process.send_signal(signal_number)
        _, logged = await asyncio.wait_for(self.process.communicate(), _STOP_SECONDS)
        assert self.process.returncode is not None
        return self.process.returncode, logged.decode()


@asynccontextmanager
async def served_node(
    *flags: str, target: str = COUNTER, python: str = sys.executable, **environment: str
) -> AsyncIterator[ServedNode]:
    process = await asyncio.create_subprocess_exec(
        *(python, "-m", "mooring", "serve", target, "--port", "0", "--stop-seconds", "2", *flags),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        node = ServedNode(process)
        assert process.stdout is not None
        while not (node.said and " serves " in node.said[-1]):
            line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
            if not line:
                _, logged = await process.communicate()
                raise AssertionError(f"the node ended before it was ready:\n{logged.decode()}")
            node.said.append(line.decode().rstrip())
        yield node
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
