"""Being asked to stop: Ctrl-C, SIGTERM, or a terminal that goes away."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, Self

from mooring.errors import SettingsError

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")


def _nothing() -> None:
    pass


@contextmanager
def stop_signals(first: Callable[[], object], again: Callable[[], None] = _nothing) -> Iterator[None]:
    """Within this context the first signal to stop calls `first`, each further one `again`, in the running loop.

    Nothing is heard where asyncio cannot: outside the main thread, and on Windows.
    """
    was_asked = False

    def hear() -> None:
        nonlocal was_asked
        call, was_asked = (again if was_asked else first), True
        call()

    loop = asyncio.get_running_loop()
    heard = _to_hear()
    with suppress(NotImplementedError):
        for number in heard:
            loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for number in heard:
                loop.remove_signal_handler(number)


def _to_hear() -> list[signal.Signals]:
    """SIGHUP only where it is not ignored: `nohup` means that a process outlives its terminal.

    SIGINT is heard even so: shells ignore it for what they start in the background, and a supervisor sends it
    on purpose.
    """
    if threading.current_thread() is not threading.main_thread():
        return []
    known = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]
    return [one for one in known if one.name != "SIGHUP" or signal.getsignal(one) is not signal.SIG_IGN]


class Stop:
    """Whether a stop was asked for, by a signal or by ourselves. Use it as a context manager.

    Attributes:
        again: called at each further signal: somebody does not want to wait.
    """

    def __init__(self) -> None:
        self.again: Callable[[], object] = _nothing
        self._asked = asyncio.Event()
        self._hearing: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        self._hearing = stop_signals(self._hear, self._hear)
        self._hearing.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._hearing is not None:
            self._hearing.__exit__(None, None, None)

    async def wait(self) -> None:
        """Wait until a stop is asked for."""
        await self._asked.wait()

    def ask(self) -> None:
        """Stop for a reason other than a signal; may be called again and again."""
        self._asked.set()

    def _hear(self) -> None:
        if self._asked.is_set():
            self.again()
        self.ask()


@contextmanager
def before_sigterm(first: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[bool]:
    """Within this context SIGTERM has `first` done in the running loop, and then whatever was there to hear it.

    A second SIGTERM is heard by that at once. For a server that is not ours and sets its handler before its app starts,
    as uvicorn does.

    Yields:
        whether it is likely to come: not where nothing here hears it and the process has a parent of Python's, which
        may say in another way that it is to stop, as hypercorn's does.

    Raises:
        SettingsError: nobody can be put in front: SIGTERM is heard by an event loop, or in another thread.
    """
    loop = asyncio.get_running_loop()
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if not is_main or _is_a_loops(before):
        raise SettingsError(
            "drain_on_sigterm",
            True,
            "this server hears SIGTERM in a way that nobody can get in front of: let it call `await mooring.drain()` "
            "before it stops, or run it with uvicorn or `mooring serve`",
        )
    work: list[asyncio.Task[None]] = []

    def go_on(*_: object) -> None:
        if callable(before):
            before(signal.SIGTERM, None)
        else:
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def begin() -> None:
        if work:
            go_on()
        else:
            work.append(asyncio.ensure_future(first()))
            work[0].add_done_callback(go_on)

    def hear(number: int, frame: object) -> None:
        loop.call_soon_threadsafe(begin)

    signal.signal(signal.SIGTERM, hear)
    try:
        yield callable(before) or multiprocessing.parent_process() is None
    finally:
        if signal.getsignal(signal.SIGTERM) is hear:
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def _is_a_loops(handler: object) -> bool:
    """Whether an event loop put it there: it hears the signal by itself, whatever is put in its place. uvloop's is its
    own method.
    """
    is_uvloops = isinstance(getattr(handler, "__self__", None), asyncio.AbstractEventLoop)
    return is_uvloops or getattr(handler, "__module__", "") == "asyncio.unix_events"
