"""What commands print: tables that fit a terminal, and JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Final, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

WIDTH_OF_A_PIPE: Final = 200


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


def print_json(value: Any) -> None:
    """For programs, and still readable."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
