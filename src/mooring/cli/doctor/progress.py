"""What an examination shows of itself while it goes on: on a terminal, and gone again when it is over."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mooring.cli.doctor.screen import row
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Finding

_BAR: Final = 20


class Progress:
    """Listens to the examination. Use it as a context manager: outside of it, nothing is on the screen.

    It is on standard error, so that what goes through a pipe is the report alone.
    """

    def __init__(self) -> None:
        self._exam: Examination | None = None
        self._console = Console(stderr=True, highlight=False)
        self._findings: list[Finding] = []
        self._step = "starting"
        self._done, self._wanted = 0, 0
        self._spinner = Spinner("line")
        self._started = time.monotonic()
        self._live = Live(console=self._console, get_renderable=self._show, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        # Not what rich takes for a terminal: an environment variable can tell it that a pipe is one.
        if sys.stderr.isatty() and not self._console.is_dumb_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Take it off the screen, for good."""
        self._live.stop()

    def begun(self, exam: Examination) -> None:
        """There are numbers to show from now on."""
        self._exam = exam

    @property
    def sessions(self) -> tuple[int, int]:
        """How many were opened, and how many closed again."""
        return (self._exam.sessions.count, self._exam.sessions.closed) if self._exam else (0, 0)

    def step(self, text: str) -> None:
        """What is being done now."""
        self._step = text

    def found(self, finding: Finding) -> None:
        """A check has ended."""
        self._findings.append(finding)

    def progress(self, done: int, wanted: int) -> None:
        """So many of the checks have ended."""
        self._done, self._wanted = done, wanted

    def _show(self) -> RenderableType:
        width = self._console.width
        column = max((len(finding.check) for finding in self._findings), default=0) + 2
        rows = [line for finding in self._findings for line in row(finding, width, column)]
        now = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(1, self._wanted), completed=self._done, width=_BAR)
        text = Text(f"{self._step}; {self._numbers()}", overflow="ellipsis", no_wrap=True)
        now.add_row(*([bar] if self._wanted else [self._spinner]), text)
        # What does not fit goes at the top: what is new is at the bottom.
        return Group(*rows[-max(1, self._console.height - 3) :], now)

    def _numbers(self) -> str:
        requests = self._exam.wire.requests if self._exam else 0
        return f"{requests} requests, {time.monotonic() - self._started:.0f} s"
