"""The public names: a promise, so that a change of them is a change of this list in the same breath."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import mooring

PUBLIC = [
    "ClosedHandle",
    "ClosedSession",
    "Counters",
    "Mooring",
    "MooringError",
    "MovingSession",
    "NoHandle",
    "NoSession",
    "NodeInfo",
    "NodeState",
    "NodeStatus",
    "Registry",
    "RevivedSession",
    "SessionRecord",
    "SessionStateStore",
    "Settings",
    "SettingsError",
    "ShortSessionIds",
    "StoreUnavailable",
    "end",
    "new_handle",
    "session_state",
    "share_changes",
    "share_request_state",
    "state",
    "transactional",
    "tune_gc",
]


def names_for_type_checkers() -> set[str]:
    """What the package imports where only a type checker looks."""
    tree = ast.parse(inspect.getsource(mooring))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_these_are_the_public_names() -> None:
    assert mooring.__all__ == PUBLIC


def test_they_are_sorted_and_each_is_there_once() -> None:
    assert mooring.__all__ == sorted(set(mooring.__all__))


def test_type_checkers_see_the_same_names() -> None:
    assert names_for_type_checkers() == set(mooring.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(importlib.import_module("mooring"), name)
    assert value.__module__.startswith("mooring.")
    assert value.__name__ == name
    said = (vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__) or ""
    assert len(said.strip()) > 10
    assert not said.startswith(f"{name}("), "what dataclasses write by themselves is no docstring"


@pytest.mark.parametrize("name", ["mooring", "Node", "PeerGone", "TargetError", "annotations_", "errors_"])
def test_what_is_not_public_is_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(mooring, name)


def test_importing_everything_gives_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from mooring import *", namespace)  # noqa: S102
    assert set(namespace) - {"__builtins__"} == set(PUBLIC)


@pytest.mark.real
def test_the_bare_package_loads_nothing_else() -> None:
    program = "import sys; before = set(sys.modules); import mooring; print(*sorted(set(sys.modules) - before))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"aiohttp", "redis", "pydantic", "uvicorn", "typer", "rich", "yaml"}
    assert not heavy & set(ran.stdout.split())


def test_the_errors_that_callers_can_meet_are_public_and_no_others() -> None:
    """Those between peers, of the core's tables, of the command line and of `mooring up` never leave us."""
    errors = importlib.import_module("mooring.errors")
    ours = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert ours & set(PUBLIC) == {"MooringError", "NoHandle", "NoSession", "SettingsError", "StoreUnavailable"}
    assert all(issubclass(getattr(errors, name), mooring.MooringError) for name in ours)
