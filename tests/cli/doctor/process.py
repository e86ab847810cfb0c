"""`mooring doctor` in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from tests.cli.command import Outcome

_END_SECONDS = 60.0


@dataclass
class Doctor:
    """A run that is under way."""

    process: asyncio.subprocess.Process

    async def end(self) -> Outcome:
        """Its exit code, and what it printed."""
        out, err = await asyncio.wait_for(self.process.communicate(), _END_SECONDS)
        assert self.process.returncode is not None
        return Outcome(self.process.returncode, (out or b"").decode(), (err or b"").decode())


@contextlib.asynccontextmanager
async def running_doctor(
    *arguments: str, environment: Mapping[str, str] | None = None, stdout: int = PIPE, stderr: int = PIPE
) -> AsyncIterator[Doctor]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mooring", "doctor", *arguments),
        env={**os.environ, **(environment or {})},
        stdin=DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )
    try:
        yield Doctor(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def doctor(*arguments: str, **environment: str) -> Outcome:
    """A whole run; no silent stream is held, for which a test would have to wait."""
    async with running_doctor(*arguments, "--idle", "0", environment=environment) as run:
        return await run.end()
