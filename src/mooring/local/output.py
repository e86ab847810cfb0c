"""What `mooring up` prints: the table of nodes, its own messages, and each child's lines after the child's name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mooring.core.model import NodeInfo

_COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")
_HELD_LINES: Final = 1_000


class Output:
    """Prints to `console`. Children's lines are held back until `release`, unless `at_once`.

    Until all is up they would bury the one line that says why something did not come up.

    Attributes:
        lost: called when nobody reads the output any longer (`mooring up | head`).
    """

    def __init__(self, console: Console, names: Sequence[str], *, at_once: bool = False) -> None:
        self.lost: Callable[[], None] = lambda: None
        self._console = console
        self._is_lost = False
        self._width = max(map(len, names))
        self._colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
        self._held: deque[tuple[str, Text]] | None = None if at_once else deque(maxlen=_HELD_LINES)

    def line(self, name: str, text: str) -> None:
        """A child's line."""
        self._log(name, Text(text))

    def say(self, name: str, text: str) -> None:
        """A line of our own about a child."""
        self._log(name, Text(text, style="bold"))

    def release(self, names: Collection[str]) -> None:
        """Show what was held back from these, and from now on every child's lines as they come."""
        held, self._held = self._held, None
        for name, line in held or ():
            if name in names:
                self._print(line)

    def notice(self, text: str) -> None:
        """A line of our own, as it is: other programs may wait for it."""
        self._print(Text(text))

    def nodes(self, infos: Sequence[NodeInfo], shards: Sequence[Sequence[str]]) -> None:
        """The table of nodes."""
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for title in ("name", "id", "pid", "url", "shards"):
            table.add_column(title, no_wrap=title != "shards", overflow="fold")
        for info, held in zip(infos, shards, strict=True):
            cells = (info.name, info.id, str(info.pid), info.url, " ".join(held))
            table.add_row(*(Text(cell, style=self._colours.get(info.name, "")) for cell in cells))
        self._print(table)

    def _log(self, name: str, text: Text) -> None:
        colour = self._colours.get(name, "")
        line = Text.assemble((f"{name:<{self._width}} | ", colour), text)
        if self._held is None:
            self._print(line)
        else:
            self._held.append((name, line))

    def _print(self, what: Text | Table) -> None:
        if self._is_lost:
            return
        try:
            self._console.print(what, soft_wrap=isinstance(what, Text), highlight=False)
        except (BrokenPipeError, SystemExit):  # rich turns the former into the latter
            self._is_lost = True
            self.lost()
