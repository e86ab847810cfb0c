"""What the doctor's docstring says of its modules is so; that they keep to it is checked by `.importlinter`."""

from __future__ import annotations

import ast
import configparser
import itertools
import re
from pathlib import Path

import mooring.doctor

FOLDER = Path(mooring.doctor.__file__).parent
LINTER = Path(__file__).resolve().parents[2] / ".importlinter"
ROWS = [
    re.findall(r"(\w+)/?(?:, |$)", names)
    for names in re.findall(r"^    ([a-z_/]+(?:, [a-z_/]+)*)   ", mooring.doctor.__doc__ or "", re.MULTILINE)
]


def test_the_docstring_names_every_module() -> None:
    tops = {path.stem for path in FOLDER.iterdir() if path.suffix in ("", ".py")} - {"__init__", "__pycache__"}
    assert sorted(name for row in ROWS for name in row) == sorted(tops)


def test_the_docstring_has_them_in_the_order_that_is_checked() -> None:
    linter = configparser.ConfigParser()
    linter.read(LINTER)
    checked = linter["importlinter:contract:doctor"]["layers"].split()
    rank = {name: number for number, name in enumerate(reversed([one for one in checked if one != "|"]))}
    lowest = min(rank[name] for name in ROWS[0])
    for before, after in itertools.pairwise(ROWS):
        highest = max(rank[name] for name in before if name != "texts")
        assert highest < min(rank[name] for name in after if name != "texts"), (before, after)
    assert lowest == 0


def checks_imported_in(path: Path) -> set[str]:
    """The modules of checks that a module imports."""
    checks = {one.stem for one in (FOLDER / "checks").glob("*.py") if re.search(r"^CHECK\b", one.read_text(), re.M)}
    assert len(checks) > 10
    return {
        alias.name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "mooring.doctor.checks"
        for alias in node.names
    } & checks


def test_no_module_but_the_catalogue_imports_a_check() -> None:
    importing = {path.stem for path in FOLDER.rglob("*.py") if checks_imported_in(path)}
    assert importing == {"catalogue"}
