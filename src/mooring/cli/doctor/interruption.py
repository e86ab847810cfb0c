"""Ctrl-C and SIGTERM in a command that has something to put away before it ends.

`asyncio.run` knows SIGINT alone, and answers a second one with an exception in the middle of the putting away.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from mooring.cli.exits import ExitCode
from mooring.processes.signals import stop_signals

_T = TypeVar("_T")


async def until_interrupted(work: Coroutine[Any, Any, _T], *, last_words: Callable[[], None]) -> _T:
    """The work's result. The first signal cancels it, which it may take as its end; a second one ends the process.

    Args:
        last_words: called at the second one.

    Raises:
        asyncio.CancelledError: it was interrupted.
    """
    task = asyncio.ensure_future(work)

    def end_now() -> None:
        last_words()
        os._exit(ExitCode.INTERRUPTED)

    with stop_signals(task.cancel, end_now):
        return await task
