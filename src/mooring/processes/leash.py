"""Children that end with their parent, even one that was killed.

One small process, the watchdog, holds a pipe to the parent, which tells it each child's process group as it comes and
goes. When the pipe closes, however the parent ended, the watchdog asks the groups that are left to stop, and kills what
remains after two seconds.

Why not the kernel's way: `PR_SET_PDEATHSIG` is Linux only (the wheels of Traefik and Valkey are for macOS too),
reaches a child but not the children of that child (a stdio server behind a node), and needs code between fork and exec.
Why not a pipe that each child watches: Traefik and Valkey do not.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Self

from mooring.processes import watchdog


class Leash:
    """The parent's end of the pipe. Use it as an async context manager around all children."""

    def __init__(self) -> None:
        self._watchdog: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        program = [sys.executable, "-I", "-S", watchdog.__file__]
        self._watchdog = await asyncio.create_subprocess_exec(
            *program, stdin=asyncio.subprocess.PIPE, start_new_session=True
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
            await self._watchdog.wait()

    def hold(self, group: int) -> None:
        """The process group of a child that has just started."""
        self._tell(f"+{group}\n")

    def let_go(self, group: int) -> None:
        """It is over: its number may come to mean another group."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        if self._watchdog is not None and self._watchdog.stdin is not None and not self._watchdog.stdin.is_closing():
            self._watchdog.stdin.write(line.encode())
