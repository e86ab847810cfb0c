"""The house stands as `.importlinter` draws it, and a wall that is broken is noticed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "mooring"
LINTER = Path(sys.executable).with_name("lint-imports")


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINTER, ROOT / ".importlinter", "--no-cache"],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.real
def test_the_house_is_as_it_was_drawn() -> None:
    linted = lint(SOURCE)
    assert linted.returncode == 0, linted.stdout


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/ids.py", "import asyncio"),
        ("core/ids.py", "def f():\n    import secrets"),
        ("core/model.py", "from mooring.core import routing"),
        ("core/text.py", "from mooring.node import middleware"),
        ("store/codec.py", "from mooring.settings import Settings"),
        ("store/keys.py", "from mooring.store import registry"),
        ("node/membership/lease.py", "from mooring.node.requests import router"),
        ("node/pages/health.py", "from mooring.node.requests import answers"),
        ("node/node.py", "import mcp.server"),
        ("node/node.py", "from mooring.ingress import traefik"),
        ("processes/child.py", "from mooring.local import cluster"),
        ("local/options.py", "from mooring.local import cluster"),
        ("hosting/target.py", "def f():\n    from fastmcp import FastMCP"),
        ("doctor/plan.py", "from mooring.store import registry"),
        ("errors.py", "from mooring.cli.app import main"),
    ],
)
def test_a_wall_that_is_broken_is_noticed(tmp_path: Path, file: str, text: str) -> None:
    shutil.copytree(PACKAGE, tmp_path / "mooring", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "mooring" / file).open("a") as module:
        module.write(f"\n{text}\n")
    linted = lint(tmp_path)
    assert linted.returncode == 1, linted.stdout
    assert "BROKEN" in linted.stdout


BY_NAME = {
    "__init__.py": "the public names, loaded when they are used",
    "cli/app.py": "a command, loaded when it is run",
    "hosting/importing.py": "what TARGET names",
}
"""Who may import by a name in a string, which the linter does not see, and what."""


def imports_by_name(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__", "resolve_name", "exec", "eval", "run_module", "run_path"):
                yield node


def test_only_these_import_by_a_name_in_a_string() -> None:
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if any(imports_by_name(path))}
    assert found == set(BY_NAME)


def test_the_public_names_come_from_the_floors_that_may_be_seen() -> None:
    from mooring import _HOMES, __all__

    assert set(_HOMES) == set(__all__)
    assert {home.split(".")[1] for home in _HOMES.values()} <= {
        "core",
        "errors",
        "hosting",
        "node",
        "settings",
        "store",
    }
