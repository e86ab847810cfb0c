"""The house: who may import whom. `core` knows nothing outside itself, and nobody in the house knows the SDK."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
PACKAGE = "mooring"

# Layer -> the layers that it may import. A layer that is not listed may import all but what is barred below.
MAY_IMPORT = {
    "errors": set[str](),
    "core": {"core", "errors"},
    "store": {"core", "errors", "store"},
    "node": {"core", "errors", "store", "node"},
    "ingress": {"errors", "ingress"},
    "doctor": {"core", "errors", "ingress", "doctor"},
}
# The command line imports all, and nobody imports it but what starts it.
ONLY_FROM = {"cli": {"cli", "__main__"}}
BARRED = {"cluster": {"cli", "doctor"}, "hosting": {"cli", "cluster", "doctor"}}
# The core has no I/O, no clock, no chance and no environment.
NOT_IN_CORE = {
    *("asyncio", "selectors", "socket", "ssl", "threading", "concurrent", "multiprocessing", "subprocess"),
    *("time", "random", "secrets", "os", "io", "pathlib", "tempfile", "urllib", "http", "logging"),
    *("redis", "aiohttp", "httptools", "uvicorn", "uvloop", "pydantic", "pydantic_settings", "yaml", "typer", "rich"),
}
# An app brings its own SDK, of whatever generation.
NOWHERE = {"mcp", "mcp_types", "fastmcp", "starlette"}


def imports_of(path: Path, root: Path) -> Iterator[str]:
    """Every module that a file imports, at its top, in a function, or by a name given as text."""
    module = path.relative_to(root).with_suffix("").parts
    package = module[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            origin = ".".join(part for part in (base, node.module) if part)
            # Whether a module or a name in it is imported does not show here: both are told, the module once.
            yield from {origin, *(f"{origin}.{alias.name}" for alias in node.names)} - {PACKAGE}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            yield from (
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )


def layer_of(module: str) -> str:
    """The layer of a module of ours; "" for the package itself."""
    return f"{module}.".split(".")[1]


def is_allowed(here: str, imported: str, layers: set[str]) -> bool:
    """Whether a module of the layer `here` may import that."""
    top, there = imported.partition(".")[0], layer_of(imported)
    if top != PACKAGE:
        return top not in NOWHERE and not (here == "core" and top in NOT_IN_CORE)
    if there not in layers:
        # The package's public names, which come from every layer.
        return here not in MAY_IMPORT
    return (
        there in MAY_IMPORT.get(here, {there})
        and here in ONLY_FROM.get(there, {here})
        and there not in BARRED.get(here, set())
    )


def violations(root: Path) -> list[str]:
    """`file: imported` for each import that the house does not allow."""
    layers = {path.stem for path in (root / PACKAGE).iterdir()}
    return [
        f"{path.relative_to(root)}: {imported}"
        for path in sorted((root / PACKAGE).rglob("*.py"))
        for imported in sorted(set(imports_of(path, root)))
        if not is_allowed(layer_of(".".join(path.relative_to(root).with_suffix("").parts)), imported, layers)
    ]


def test_the_house_is_as_it_was_drawn() -> None:
    assert violations(SOURCE) == []


def test_the_house_is_here() -> None:
    """The test looks at something."""
    assert set(MAY_IMPORT) <= {path.stem for path in (SOURCE / PACKAGE).iterdir()}
    read = [name for path in (SOURCE / PACKAGE).rglob("*.py") for name in imports_of(path, SOURCE)]
    assert {"asyncio", "mooring.core.model", "redis.asyncio", "aiohttp"} <= set(read)
    assert len(read) > 200


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/a.py", "import asyncio"),
        ("core/a.py", "import os.path"),
        ("core/a.py", "from time import monotonic"),
        ("core/a.py", "def f():\n    import secrets"),
        ("core/a.py", "if TYPE_CHECKING:\n    from redis.asyncio import Redis"),
        ("core/a.py", "import mooring.store.base"),
        ("core/a.py", "from mooring.node import sessions"),
        ("core/a.py", "from mooring import store"),
        ("core/a.py", "from mooring import Mooring"),
        ("core/a.py", "import mooring"),
        ("core/a.py", "from ..store import base"),
        ("core/a.py", "from .. import node"),
        ("core/a.py", "import importlib\nimportlib.import_module('mooring.node')"),
        ("core/a.py", "from importlib import import_module\nimport_module('asyncio')"),
        ("store/a.py", "from mooring.settings import Settings"),
        ("store/a.py", "from mooring.ingress import traefik"),
        ("node/a.py", "from mooring.ingress import traefik"),
        ("node/a.py", "from mooring.cluster import local"),
        ("node/a.py", "import mcp.server"),
        ("node/a.py", "from fastmcp import FastMCP"),
        ("node/a.py", "__import__('mcp')"),
        ("ingress/a.py", "from mooring.core import model"),
        ("ingress/a.py", "from mooring.store import registry"),
        ("doctor/a.py", "from mooring.store import registry"),
        ("cluster/a.py", "from mooring.cli import app"),
        ("cluster/a.py", "from mooring.doctor import checks"),
        ("hosting/a.py", "from mooring.cli.app import main"),
        ("errors.py", "from mooring.core import model"),
        ("__init__.py", "from mooring.cli import main"),
        ("cli/a.py", "from mcp.client import session"),
    ],
)
def test_a_wall_that_was_broken_through_is_noticed(tmp_path: Path, file: str, text: str) -> None:
    build(tmp_path, {file: text})
    assert [line.partition(":")[0] for line in violations(tmp_path)][:1] == [f"{PACKAGE}/{file}"]


def test_what_is_allowed_is_not_complained_of(tmp_path: Path) -> None:
    build(
        tmp_path,
        {
            "__init__.py": "from mooring.node.middleware import Mooring\nfrom mooring.errors import MooringError",
            "__main__.py": "from mooring.cli import main",
            "errors.py": "from __future__ import annotations",
            "core/a.py": "import re, hashlib\nfrom mooring.core import b\nfrom mooring.errors import MooringError",
            "core/b.py": "from . import a\nfrom ..errors import MooringError\nfrom mooring import errors",
            "store/a.py": "import asyncio\nfrom mooring.core.model import NodeInfo\nfrom mooring.store import b",
            "node/a.py": "import aiohttp\nfrom mooring.store import Store\nfrom mooring.node import b",
            "ingress/a.py": "import yaml\nfrom mooring.errors import SettingsError\nfrom mooring.ingress import b",
            "cluster/a.py": "from mooring.settings import Settings\nfrom mooring.ingress import a",
            "cli/a.py": "from mooring import Mooring\nfrom mooring.cluster import a\nfrom mooring.cli import b",
        },
    )
    assert violations(tmp_path) == []


def build(root: Path, files: dict[str, str]) -> None:
    for layer in ("core", "store", "node", "ingress", "cluster", "cli", "doctor", "hosting"):
        (root / PACKAGE / layer).mkdir(parents=True)
    (root / PACKAGE / "errors.py").touch()
    for file, text in files.items():
        (root / PACKAGE / file).write_text(text, encoding="utf-8")
