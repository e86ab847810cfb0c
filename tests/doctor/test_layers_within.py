"""The order of the doctor's modules: each imports only what its package's docstring puts above it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import mooring.doctor

ROOT = Path(mooring.doctor.__file__).parent
PACKAGE = "mooring.doctor"
LAYERS = tuple(
    frozenset(re.findall(r"(\w+)/?(?:, |$)", names))
    for names in re.findall(r"^    ([a-z_/]+(?:, [a-z_/]+)*)   ", mooring.doctor.__doc__ or "", re.MULTILINE)
)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(module: str) -> Iterator[str]:
    """The doctor's modules that it imports, at its top or anywhere else in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            base = str(node.module).removeprefix(PACKAGE).removeprefix(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield inner if inner in MODULES else base


def layer_of(module: str) -> int:
    return next(number for number, names in enumerate(LAYERS) if module.partition(".")[0] in names)


def test_the_docstring_names_every_module() -> None:
    tops = {module.partition(".")[0] for module in MODULES} - {""}
    named = [name for names in LAYERS for name in names]
    assert sorted(named) == sorted({*tops, "texts"})


def test_each_module_imports_only_what_is_above_it() -> None:
    wrong = [
        f"{module}: {imported}"
        for module in MODULES
        if module
        for imported in imports_of(module)
        if layer_of(imported) > layer_of(module)
    ]
    assert wrong == []


def test_there_is_no_circle() -> None:
    order = TopologicalSorter({module: set(imports_of(module)) for module in MODULES}).static_order()
    assert set(order) == set(MODULES)


def test_evidence_judges_nothing() -> None:
    barred = {"findings", "advice"}
    assert not [module for module in MODULES if module.startswith("evidence.") and barred & set(imports_of(module))]


def test_no_module_but_the_catalogue_imports_a_check() -> None:
    checks = {name for name, path in MODULES.items() if re.search(r"^CHECK\b", path.read_text(), re.MULTILINE)}
    assert len(checks) > 10
    importing = {module for module in MODULES for imported in imports_of(module) if imported in checks}
    assert importing == {"catalogue"}
