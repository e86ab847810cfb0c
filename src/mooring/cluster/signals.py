"""Being asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Whether Ctrl-C was pressed, or SIGTERM came, or the terminal went away. Use it as a context manager.

    Attributes:
        again: called when it happens once more: somebody does not want to wait.
    """

    def __init__(self) -> None:
        self.again: Callable[[], None] = lambda: None
        self._asked = asyncio.Event()

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    async def wait(self) -> None:
        """Until it happens."""
        await self._asked.wait()

    def ask(self) -> None:
        """Stop for another reason than a signal; it may be asked again and again."""
        self._asked.set()

    def _hear(self) -> None:
        if self._asked.is_set():
            self.again()
        self.ask()
