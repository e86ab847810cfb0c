"""One tree of errors, and texts that a command can print as they are."""

from __future__ import annotations

import importlib
import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mooring import errors
from mooring.errors import MooringError, PeerError, SettingsError

PROPERTY = settings(deadline=None, max_examples=100)

ERRORS = [value for value in vars(errors).values() if inspect.isclass(value)]


def test_the_tree_in_the_docstring_is_the_tree_of_the_errors() -> None:
    errors = importlib.import_module("mooring.errors")
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "\u2500\u2500" in line]
    parents: dict[str, str] = {}
    above = {0: "MooringError"}
    for line in drawn:
        depth = line.index("\u2500\u2500") // 4
        name = line.partition("\u2500\u2500 ")[2].split()[0]
        parents[name] = above[depth - 1]
        above[depth] = name
    ours = {name: value for name, value in vars(errors).items() if inspect.isclass(value) and name != "MooringError"}
    assert parents == {name: value.__bases__[0].__name__ for name, value in ours.items()}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_who_catches_the_root_catches_all_and_nothing_else(kind: type[Exception]) -> None:
    assert issubclass(kind, MooringError)
    assert kind.__mro__[-4:] == (MooringError, Exception, BaseException, object)


def test_what_a_peer_can_do_to_us_is_caught_as_one() -> None:
    assert {kind.__name__ for kind in PeerError.__subclasses__()} == {"PeerMoved", "PeerSilent"}


@PROPERTY
@given(st.sampled_from(["lease_seconds", "redis_url"]), st.text() | st.integers() | st.none(), st.just("what is right"))
def test_a_wrong_setting_is_named_with_its_value_in_one_line(name: str, value: object, expected: str) -> None:
    error = SettingsError(name, value, expected)
    assert (error.name, error.value, error.expected) == (name, value, expected)
    assert str(error).startswith(f"setting {name}: ")
    assert repr(value) in str(error)
    assert str(error).endswith(expected)
    assert str(error).isprintable()
