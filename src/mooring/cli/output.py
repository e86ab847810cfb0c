"""What commands print: tables that fit a terminal, and JSON."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, Final, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_PIPE: Final = 200
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters that JSON need not escape, and those that turn text around. All stand in texts."""
_GAP: Final = 2
_CUT_WIDTH: Final = 8
"""Of the column that gives way, at least."""


def console() -> Console:
    """Standard output; wide where nobody looks at it, so that `grep` finds whole lines."""
    is_pipe = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=WIDTH_OF_A_PIPE if is_pipe else None, highlight=False)


def table(*headers: str, right: str = "", cut: str = "") -> Table:
    """An empty table with one line under its head.

    Args:
        right: the headers of numbers.
        cut: the header of the column that gives way where the terminal is narrow.
    """
    empty = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for header in headers:
        justify: Literal["left", "right"] = "right" if header in right.split() else "left"
        empty.add_column(header, justify=justify, no_wrap=header != cut, overflow="fold")
    return empty


def print_table(out: Console, rows: Table) -> None:
    """Print it as narrow as the terminal, unless that would cut anything: a number that is cut is another number.

    Then nothing gives way, and lines go on below as the terminal has it.
    """
    widths = [max(map(_width_of, column.cells)) for column in rows.columns]
    columns = zip(widths, rows.columns, strict=True)
    least = sum(width if column.no_wrap else min(width, _CUT_WIDTH) for width, column in columns)
    is_enough = out.width >= least + _GAP * len(widths)
    wide = out if is_enough else Console(width=sum(widths) + 2 * _GAP * len(widths), highlight=False)
    wide.print(rows)


def _width_of(cell: Any) -> int:
    return cell_len(cell.plain if isinstance(cell, Text) else str(cell))


def print_json(value: Any) -> None:
    """For programs, and still readable, also on a terminal: what would move its cursor is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    typer.echo(_UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))
