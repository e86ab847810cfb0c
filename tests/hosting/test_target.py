"""Targets made of plain objects: what is recognised as what, and each error's line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mooring.errors import TargetError
from mooring.hosting.target import load_target

SETTINGS = SimpleNamespace(main_endpoint="/here")

SOURCE = """
import inspect


class App:
    def __init__(self, path="as written"):
        self.path = path

    async def __call__(self, scope, receive, send): ...


class FastMCP4:
    def http_app(self, path=None, middleware=None):
        return App(path)


class Sdk2:
    def streamable_http_app(self, *, streamable_http_path="/mcp", json_response=False):
        return App(streamable_http_path)


class Sdk1:
    class settings:
        streamable_http_path = "/mcp"

    def streamable_http_app(self):
        return App(self.settings.streamable_http_path)


class LowLevel:
    def create_initialization_options(self): ...


class Broken:
    def http_app(self, path=None):
        raise RuntimeError("no transport")


class Needs:
    def __init__(self, name): ...


app, fastmcp, sdk2, sdk1, low_level, broken = App(), FastMCP4(), Sdk2(), Sdk1(), LowLevel(), Broken()
holder = type("Holder", (), {"inner": app})()
number = 3


async def function(scope, receive, send): ...


async def variadic(*args): ...


def factory():
    return App()


def factory_with_defaults(debug=False, name="x", port=1):
    return fastmcp


def variadic_factory(*args, **kwargs):
    return sdk2


def factory_of_factories():
    return factory


def factory_of_nothing():
    return None


def failing_factory():
    raise ValueError("two\\nlines")


async def async_factory():
    return app


def wsgi(environ, start_response): ...
"""


@pytest.fixture(autouse=True)
def _imports_leave_nothing() -> Iterator[None]:
    modules, path = dict(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, source: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        return file

    return write


@pytest.fixture
def served(write: Callable[[str, str], Path]) -> Path:
    return write("a_target.py", SOURCE)


@pytest.mark.parametrize(
    ("attribute", "path"),
    [
        ("app", "as written"),
        ("holder.inner", "as written"),
        ("fastmcp", "/here"),
        ("sdk2", "/here"),
        ("sdk1", "/here"),
        ("factory", "as written"),
        ("App", "as written"),
        ("factory_with_defaults", "/here"),
        ("variadic_factory", "/here"),
    ],
)
def test_what_serves_mcp_becomes_an_app_at_the_path(served: Path, attribute: str, path: str) -> None:
    assert load_target(f"{served}:{attribute}", SETTINGS).path == path


@pytest.mark.parametrize("attribute", ["function", "variadic"])
def test_an_asgi_function_is_taken_as_it_is(served: Path, attribute: str) -> None:
    assert load_target(f"{served}:{attribute}", SETTINGS).__name__ == attribute


@pytest.mark.parametrize(
    ("attribute", "line"),
    [
        ("number", "is of type int; wanted: an ASGI app"),
        ("inspect", "is the module inspect; wanted"),
        ("wsgi", "is a function that takes (environ, start_response); wanted"),
        ("low_level", "is of type a_target.LowLevel, which does not serve HTTP by itself"),
        ("Sdk2", "is the class Sdk2: name a server that was made from it"),
        ("Needs", "is the class Needs, which needs arguments to make an object"),
        ("async_factory", "is an async function: a factory has to be an ordinary function"),
        ("factory_of_nothing", "makes is of type NoneType; wanted"),
        ("factory_of_factories", "makes is a function that takes (); wanted"),
        ("failing_factory", "failed: ValueError: two lines (a_target.py:"),
        ("broken", "failed: RuntimeError: no transport (a_target.py:"),
        ("sdk3", "has no attribute 'sdk3'; did you mean sdk2 or sdk1?"),
        ("qqqqqq", "has no attribute 'qqqqqq'; it has app, fastmcp, sdk2,"),
    ],
)
def test_what_does_not_is_answered_in_one_line(served: Path, attribute: str, line: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(f"{served}:{attribute}", SETTINGS)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "app", "module:", ":app", "/some/file.py"])
def test_a_target_of_another_form(text: str) -> None:
    with pytest.raises(TargetError, match=r"write module:attribute or path/file\.py:attribute"):
        load_target(text, SETTINGS)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(TargetError, match=r"there is no file no/such/file\.py"):
        load_target("no/such/file.py:app", SETTINGS)


@pytest.mark.parametrize("module", ["no_such_module", "no_such.module", "json.no_such"])
def test_a_module_that_is_not_there(module: str) -> None:
    with pytest.raises(TargetError, match=r"there is no module '(json\.)?no_such"):
        load_target(f"{module}:app", SETTINGS)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("\nimport no_such_package", "it needs 'no_such_package', which is not installed"),
        ("from json import no_such_name", "ImportError: cannot import name 'no_such_name'"),
        ("\n\n1 / 0", "ZeroDivisionError: division by zero (fails.py:3)"),
        ("def broken(:", "SyntaxError: invalid syntax (fails.py:1)"),
        ("import sys; sys.exit(3)", "ended the process: SystemExit: 3 (fails.py:1)"),
    ],
)
def test_an_import_that_fails_says_what_and_where(write: Callable[[str, str], Path], source: str, line: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(f"{write('fails.py', source)}:app", SETTINGS)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_is_found_in_the_working_directory(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(served.parent)
    assert load_target("a_target:sdk2", SETTINGS).path == "/here"


def test_a_file_in_a_package_may_import_its_neighbours(write: Callable[[str, str], Path]) -> None:
    write("package/__init__.py", "")
    write("package/neighbour.py", SOURCE)
    file = write("package/main.py", "from .neighbour import sdk2")
    assert load_target(f"{file}:sdk2", SETTINGS).path == "/here"


def test_a_file_with_the_name_of_another_module_says_so(write: Callable[[str, str], Path]) -> None:
    file = write("json.py", "app = 1")
    with pytest.raises(TargetError, match="cannot be imported as json: that is the name of another module"):
        load_target(f"{file}:app", SETTINGS)
