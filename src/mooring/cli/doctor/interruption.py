"""Ctrl-C and SIGTERM in a command that has something to put away before it ends.

`asyncio.run` knows SIGINT alone, and answers a second one with an exception in the middle of the putting away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from mooring.cli.exits import ExitCode

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # a terminal that goes away sends the last one, and not every system has it
_T = TypeVar("_T")


async def until_interrupted(work: Coroutine[Any, Any, _T], *, last_words: Callable[[], None]) -> _T:
    """The work's result. The first signal cancels it, which it may take as its end; a second one ends the process.

    Args:
        last_words: called at the second one.

    Raises:
        asyncio.CancelledError: it was interrupted.
    """
    task = asyncio.ensure_future(work)
    is_first = True

    def hear() -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            task.cancel()
        else:
            last_words()
            os._exit(ExitCode.INTERRUPTED)

    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: there asyncio.run's own way has to do
        for number in _SIGNALS:
            loop.add_signal_handler(number, hear)
    try:
        return await task
    finally:
        with contextlib.suppress(NotImplementedError):
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
