"""`mooring up` as a process, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.processes.looking import running
from tests.waiting import until

APP = "tests/local/app.py:app"


class Up:
    """One `mooring up`. `lines` are those of both outputs so far."""

    def __init__(self, process: asyncio.subprocess.Process, run_dir: Path) -> None:
        self.process = process
        self.run_dir = run_dir
        self.lines: list[str] = []
        self.descendants: set[int] = set()
        self._reading = asyncio.create_task(self._read())

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        """The ingress, without a path."""
        ready = next(line for line in self.lines if line.startswith("ready: "))
        return ready.removeprefix("ready: ").removesuffix("/mcp")

    async def says(self, text: str, *, seconds: float = 200) -> None:
        async def has_said() -> bool:
            return text in self.text or self._reading.done()

        await until(has_said, what=f"{text!r}", seconds=seconds)
        assert text in self.text, self.text

    async def is_ready(self) -> Up:
        await self.says("ready: ")
        self.see_descendants()
        return self

    def see_descendants(self) -> set[int]:
        """Remember all processes that came of it."""
        assert self.process.returncode is None, self.text
        self.descendants |= {one.pid for one in psutil.Process(self.process.pid).children(recursive=True)}
        return self.descendants

    def child(self, name: str) -> psutil.Process:
        """The child that runs this program."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(one for one in children if name in _told(one.name))

    def command_lines(self) -> list[str]:
        """Of all processes that came of it and still run."""
        return [" ".join(_told(partial(_command_line, pid))) for pid in self.see_descendants()]

    async def end(self, *signals: signal.Signals) -> int:
        """Send these, and answer the exit code."""
        for number in signals:
            self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), 30)
        await self._reading
        return code

    async def leaves_nothing(self, port: int | None = None) -> None:
        """No process, no file, and, where it had one, no port."""
        assert not running(self.descendants)
        assert not await asyncio.to_thread(self.run_dir.exists)
        if port is not None:
            with contextlib.suppress(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
                raise AssertionError(f"somebody listens on {port}")

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        said: dict[str, Any] = json.loads((self.run_dir / "cluster.json").read_text())
        return said

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))


def _command_line(pid: int) -> list[str]:
    return psutil.Process(pid).cmdline()


def _told(ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """What a process says of itself; nothing where it ended after it was listed, as short-lived helpers do."""
    try:
        return ask()
    except psutil.NoSuchProcess:
        return ()


@contextlib.asynccontextmanager
async def up(run_dir: Path, *flags: str, target: str = APP, **environment: str) -> AsyncIterator[Up]:
    """`mooring up` with two nodes on a free port, unless `flags` say otherwise; killed at the end."""
    command = [sys.executable, "-m", "mooring", "up", target, "--run-dir", str(run_dir)]
    defaults = [] if "--port" in flags else ["--port", "0"]
    process = await asyncio.create_subprocess_exec(
        *(*command, "--nodes", "2", *defaults, *flags),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment},
    )
    one = Up(process, run_dir)
    try:
        yield one
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

        async def are_gone() -> bool:
            return not running(one.descendants)

        await until(are_gone, what="all processes to end")
