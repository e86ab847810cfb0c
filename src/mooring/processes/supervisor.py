"""A command that is kept running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from mooring.errors import ClusterError
from mooring.processes.backoff import Backoff
from mooring.processes.child import Child, Command, describe
from mooring.processes.leash import Leash

OUR_PREFIX: Final = "mooring: "
"""How the one line begins that our own commands print when they fail."""


class ChildError(ClusterError):
    """A child ended before all was up.

    Attributes:
        code: its exit code, negative where a signal ended it.
        is_ours: whether it is a command of ours, as far as its last line says.
    """

    def __init__(self, name: str, code: int, tail: Sequence[str]) -> None:
        self.code = code
        self.is_ours = bool(tail) and tail[-1].startswith(OUR_PREFIX)
        super().__init__(f"{name} did not come up ({describe(code)}): {_last_words(tail)}")


def _last_words(tail: Sequence[str]) -> str:
    """Our own commands end with one line that says it all; for others, the last three lines."""
    last = list(tail)[-3:] or ["it said nothing"]
    return last[-1].removeprefix(OUR_PREFIX) if last[-1].startswith(OUR_PREFIX) else " | ".join(last)


class Supervisor:
    """Starts a command, starts it again when it ends, and stops it.

    Args:
        show: called with each line of the command's output.
        say: called with what the supervisor itself has to say.
        begun: called with the process id of each child that was started.
        gone: called with the process id of each child that ended by itself.
        sleep, now: for tests.
    """

    def __init__(
        self,
        command: Command,
        leash: Leash,
        *,
        show: Callable[[str], None],
        say: Callable[[str], None],
        begun: Callable[[int], None] = lambda _: None,
        gone: Callable[[int], None] = lambda _: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.command = command
        self._leash = leash
        self._show = show
        self._say = say
        self._begun = begun
        self._gone = gone
        self._sleep = sleep
        self._now = now
        # The one that runs, or ran last; replaced by each start.
        self._child: Child | None = None
        # When it was started: one that lived long is started again at once.
        self._started = 0.0
        self._backoff = Backoff()

    @property
    def pid(self) -> int | None:
        """The process id of the child that runs, or ran last."""
        return None if self._child is None else self._child.pid

    @property
    def tail(self) -> Sequence[str]:
        """The last lines of that child."""
        return () if self._child is None else self._child.tail

    async def start(self) -> None:
        """The first start.

        Raises:
            ClusterError: the program cannot be started.
        """
        self._started = self._now()
        self._child = await Child.start(self.command, self._leash, self._show)
        self._begun(self._child.pid)

    async def first_end(self) -> NoReturn:
        """Wait for the end of the child: while not all is up, whoever waits decides what becomes of it.

        Raises:
            ChildError: always, with its last words.
        """
        assert self._child is not None
        code = await self._child.wait()
        raise ChildError(self.command.name, code, self._child.tail)

    async def keep(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        while True:
            assert self._child is not None
            await self.replace(await self._child.wait())

    async def replace(self, code: int) -> None:
        """Start it again, after a pause, once its child has ended with this code."""
        assert self._child is not None
        self._gone(self._child.pid)
        ended, pause = describe(code), self._backoff.after(self._now() - self._started)
        while not await self._restart(ended, pause):
            ended, pause = "not started", self._backoff.after(0.0)

    async def _restart(self, ended: str, pause: float) -> bool:
        self._say(f"ended ({ended}); starts again in {pause:g} s")
        await self._sleep(pause)
        try:
            await self.start()
        except ClusterError as error:
            self._say(str(error))
            return False
        return True

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting; `keep` must be cancelled before."""
        if self._child is not None:
            self._child.ask_to_stop()

    async def stop(self) -> None:
        """Stop the child if there is one; `keep` must be cancelled before."""
        if self._child is not None:
            await self._child.stop()

    def kill(self) -> None:
        """Kill at once."""
        if self._child is not None:
            self._child.kill()
