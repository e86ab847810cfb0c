"""One child process: its lines, its end.

It leads a session of its own, so that the terminal's Ctrl-C reaches its parent alone, which decides who stops when; and
it is a process group, so that what it started goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mooring.errors import ClusterError
from mooring.processes.leash import Leash
from mooring.processes.lines import Lines
from mooring.processes.watchdog import send

TAIL_LINES: Final = 20
_LAST_WORDS_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Command:
    """What to start.

    Attributes:
        name: what it is called in messages and before its lines.
        arguments: the program and its arguments.
        environment: what is set on top of our own environment.
        without: the variables of our own environment that it does not have.
        stop_seconds: how long it may take to stop once it was asked to.
        inherits: our file descriptors that it has, too, under the same numbers.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_seconds: float = 10.0
    inherits: tuple[int, ...] = ()
    without: frozenset[str] = frozenset()


class Child:
    """A process that was started. `tail` has its last lines."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, leash: Leash) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._command = command
        self._process = process
        self._leash = leash
        # Reads what it writes, until it closes its end.
        self._lines: asyncio.Task[None] | None = None
        # Whether it was asked to stop: once is enough.
        self._asked = False
        # Whether it has ended and was waited for: from then on its number may be another process's.
        self._over = False
        self._leash.hold(self.pid)

    @classmethod
    async def start(cls, command: Command, leash: Leash, show: Callable[[str], None]) -> Child:
        """Start it; `show` is called with each line that it writes, to either output.

        The pipe is made here rather than by asyncio, which, depending on Python's release, lets `wait` wait for the
        pipe too, and so for whatever the child has left behind.

        Raises:
            ClusterError: the program cannot be started.
        """
        ours = {name: value for name, value in os.environ.items() if name not in command.without}
        reading, writing = os.pipe()
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                env={**ours, **command.environment},
                start_new_session=True,
                pass_fds=command.inherits,
            )
        except OSError as error:
            transport.close()
            raise ClusterError(f"{command.name} cannot be started: {error}") from error
        except BaseException:
            transport.close()
            raise
        finally:
            os.close(writing)
        child = cls(command, process, leash)
        child._lines = loop.create_task(child._read(reader, transport, show))
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code (negative: the signal), once it ended, its last lines were shown, and its group is gone."""
        code = await self._process.wait()
        if not self._over:
            self.kill()
            self._over = True
            self._leash.let_go(self.pid)
        if self._lines is not None:
            await asyncio.wait([self._lines], timeout=_LAST_WORDS_SECONDS)
            self._lines.cancel()
            await asyncio.gather(self._lines, return_exceptions=True)
        return code

    async def stop(self) -> int:
        """Ask it to stop, and kill it when its time is over; returns what `wait` returns."""
        self.ask_to_stop()
        try:
            async with asyncio.timeout(self._command.stop_seconds):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        return await self.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, once, to the process itself, which has to end those that it started.

        Not by `send_signal`, which looks whether the process has ended, and so takes its exit code from whoever waits.
        """
        if not self._asked and self._process.returncode is None:
            self._asked = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to the whole group."""
        if not self._over:  # after that its number may mean another group
            send(self.pid, signal.SIGKILL)

    async def _read(
        self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport, show: Callable[[str], None]
    ) -> None:
        lines = Lines()
        try:
            while data := await reader.read(65_536):
                self._take(lines.feed(data), show)
        finally:
            self._take(lines.feed(b"", final=True), show)
            transport.close()

    def _take(self, lines: list[str], show: Callable[[str], None]) -> None:
        for line in lines:
            self.tail.append(line)
            show(line)


def describe(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
