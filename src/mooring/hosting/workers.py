"""`mooring serve --workers N`: several processes on one port, each a node of its own, and their parent.

The parent serves nothing. It holds the listening socket, which each worker inherits, and sees each one end: it tells
the store at once, so that nobody waits for the lease, and starts the worker again. From the moment at which the first
one serves, there are clients, and another that does not come up

    ended because                                 so
    --------------------------------------------  ---------------------------------------------------------------
    it says itself what is wrong (settings, ...)  all are stopped: that is for whoever started them to mend
    Redis does not answer                         it is started again, as one that has served is
    it was killed, or crashed                     the same

Each worker writes to a pipe that it inherits as well: `is <pid> <node id>` once it knows its id, `ready <pid>` once it
serves.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

from mooring.errors import MooringError, StoreUnavailable, TargetError
from mooring.processes.child import Command
from mooring.processes.leash import Leash
from mooring.processes.signals import Stop
from mooring.processes.supervisor import OUR_PREFIX, ChildError, Supervisor
from mooring.processes.tasks import end
from mooring.store import Store

STOP_MARGIN_SECONDS: Final = 8
"""What a worker may take to stop beyond what it gives the requests of its clients: its peers' end, and its goodbye."""

_AGAIN_SECONDS: Final = 0.5
_STORE_IS_AWAY: Final = 3
_BY_CODE: Final[dict[int, type[MooringError]]] = {_STORE_IS_AWAY: StoreUnavailable, 4: TargetError}
"""What `mooring serve` exits with after these, so that this command does, too."""


class Reports:
    """The pipe, as the parent has it.

    Attributes:
        fd: the workers' end.
    """

    def __init__(self) -> None:
        self._reading, self.fd = os.pipe()
        # Which node each process is, and which ones serve.
        self._ids: dict[int, str] = {}
        self._ready: set[int] = set()
        self._news = asyncio.Condition()

    async def read(self) -> None:
        """Until cancelled."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._reading, "rb", buffering=0)
        )
        try:
            while line := await reader.readline():
                async with self._news:
                    self._take(*line.decode().split())
                    self._news.notify_all()
        finally:
            transport.close()
            os.close(self.fd)

    def _take(self, what: str, pid: str, *said: str) -> None:
        if what == "is":
            self._ids[int(pid)] = said[0]
        else:
            self._ready.add(int(pid))

    def is_ready(self, pid: int) -> bool:
        return pid in self._ready

    async def until_ready(self, pid: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.is_ready(pid))

    def ended(self, pid: int) -> str | None:
        """The node that this process was, if it had come that far. The number may be another process's from now on."""
        self._ready.discard(pid)
        return self._ids.pop(pid, None)


class WorkerReport:
    """The same pipe, as a worker has it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def tell_id(self, node_id: str) -> None:
        self._write(f"is {os.getpid()} {node_id}")

    def tell_ready(self) -> None:
        self._write(f"ready {os.getpid()}")

    def _write(self, line: str) -> None:
        with suppress(BrokenPipeError):  # the parent is gone, and so are we in a moment
            os.write(self._fd, f"{line}\n".encode())


class Workers:
    """The parent of the workers.

    Args:
        commands: given the pipe's end, how each is started.
        store: is told of those that end.
        show: called with a worker's name and a line that it wrote, or that is about it.
    """

    def __init__(
        self, commands: Callable[[int], Sequence[Command]], store: Store, show: Callable[[str, str], None]
    ) -> None:
        self._commands = commands
        self._store = store
        self._show = show
        self._reports = Reports()
        self._supervisors: list[Supervisor] = []
        # What keeps the workers, and what tells the store.
        self._tasks: set[asyncio.Task[None]] = set()
        # Those that have served, by name: until then, what a worker says of its own end is ours to say.
        self._kept: set[str] = set()

    async def run(self, *, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        """Until SIGTERM, Ctrl-C or SIGHUP; a second signal kills what is left.

        Args:
            on_ready: called once all workers serve.
            on_stop: called before they are stopped.

        Raises:
            MooringError: a worker ended before it served, for a reason that is all the others' as well.
        """
        async with AsyncExitStack() as at_end:
            stop = at_end.enter_context(Stop())
            leash = await at_end.enter_async_context(Leash())
            at_end.push_async_callback(self._stop, on_stop)
            stop.again = self._kill
            self._do(self._reports.read())
            asked = self._do(stop.wait())
            if await _before(asked, self._start(leash)):
                on_ready()
                await asked

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _start(self, leash: Leash) -> None:
        """The first alone: what is wrong with the target is wrong with all, and is said once."""
        first, *others = (self._supervisor(command, leash) for command in self._commands(self._reports.fd))
        await self._begin(first)
        try:
            await self._until_ready(first)
            self._keep(first)
            for supervisor in others:
                await self._begin(supervisor)
            await asyncio.gather(*map(self._bring_up, others))
        except ChildError as error:
            if error.code in _BY_CODE:
                raise _BY_CODE[error.code](str(error)) from error
            raise

    async def _begin(self, supervisor: Supervisor) -> None:
        self._supervisors.append(supervisor)
        await supervisor.start()

    async def _bring_up(self, supervisor: Supervisor) -> None:
        """Until it serves, and keep it from then on."""
        while not self._serves(supervisor):
            try:
                await self._until_ready(supervisor)
            except ChildError as error:
                if error.is_ours and error.code != _STORE_IS_AWAY:
                    raise
                if error.is_ours:
                    self._show(supervisor.command.name, str(error))
                await supervisor.replace(error.code)
        self._keep(supervisor)

    def _keep(self, supervisor: Supervisor) -> None:
        self._kept.add(supervisor.command.name)
        self._do(supervisor.keep())

    def _supervisor(self, command: Command, leash: Leash) -> Supervisor:
        name = command.name
        return Supervisor(
            command,
            leash,
            show=lambda line: self._show_line(name, line),
            say=lambda text: self._show(name, text),
            gone=self._has_ended,
        )

    def _show_line(self, name: str, line: str) -> None:
        if name in self._kept or not line.startswith(OUR_PREFIX):
            self._show(name, line)

    def _serves(self, supervisor: Supervisor) -> bool:
        return supervisor.pid is not None and self._reports.is_ready(supervisor.pid)

    async def _until_ready(self, supervisor: Supervisor) -> None:
        """
        Raises:
            ChildError: it ended before it served.
        """
        assert supervisor.pid is not None
        ready = asyncio.ensure_future(self._reports.until_ready(supervisor.pid))
        ended = asyncio.ensure_future(supervisor.first_end())
        try:
            await asyncio.wait([ready, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
        finally:
            await end(ready, ended)

    def _has_ended(self, pid: int) -> None:
        node_id = self._reports.ended(pid)
        if node_id is not None:
            self._do(self._bury(node_id))

    async def _bury(self, node_id: str) -> None:
        while True:
            try:
                await self._store.bury(node_id)
                return
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _stop(self, on_stop: Callable[[], None]) -> None:
        on_stop()
        await end(*self._tasks)
        await asyncio.gather(*(supervisor.stop() for supervisor in self._supervisors))

    def _kill(self) -> None:
        for supervisor in self._supervisors:
            supervisor.kill()


async def _before(asked: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before somebody asked for a stop; raises what it raised."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait([asked, working], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        await end(working)
