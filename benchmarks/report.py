"""The tables that a run prints."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from benchmarks.result import Figure, Result

_MINIMUM_WIDTH = 120


def make_console() -> Console:
    """The terminal, or wide enough for a table where the output goes into a file."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, _MINIMUM_WIDTH))


def show_result(console: Console, result: Result) -> None:
    table = Table(title=result.title, caption=result.caption or None, title_justify="left", caption_justify="left")
    for number, column in enumerate(result.columns):
        table.add_column(column, justify="right" if number else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*row)
    console.print(table)
    console.print()


def show_summary(console: Console, figures: Iterable[Figure]) -> None:
    table = Table(title="Summary: the median against its target", title_justify="left")
    table.add_column("figure")
    for column in ("measured", "noise", "target", "holds"):
        table.add_column(column, justify="right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.measured.text(figure.digits)} {figure.unit}".rstrip(),
            figure.measured.noise(figure.digits),
            f"{'≥' if figure.bound == 'floor' else '≤'} {figure.target:,g} {figure.unit}".rstrip(),
            "yes" if figure.holds else "no",
        )
    console.print(table)
