from __future__ import annotations

import importlib
import sys
from importlib.metadata import version

import pytest

from mooring.cli.app import COMMANDS
from mooring.errors import StoreUnavailable
from tests.cli.command import mooring


def test_help_lists_every_command() -> None:
    said = mooring("--help")
    assert said.code == 0
    for name, what in COMMANDS.items():
        assert f"{name}  " in said.out
        assert what in said.out
    assert max(map(len, said.out.splitlines())) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_own_help(name: str) -> None:
    said = mooring(name, "--help")
    assert said.code == 0
    assert f"Usage: mooring {name} " in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_help_imports_no_command() -> None:
    for name in COMMANDS:
        sys.modules.pop(f"mooring.cli.{name}", None)
    mooring("--help")
    assert not any(f"mooring.cli.{name}" in sys.modules for name in COMMANDS)


def test_version() -> None:
    assert mooring("--version").out == f"mooring {version('mooring')}\n"


def test_an_unknown_command_is_wrong_usage_and_names_a_near_one() -> None:
    said = mooring("statsu")
    assert said.code == 2
    assert "No such command 'statsu'. Did you mean 'status'?" in said.err


def _fail_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module("mooring.cli.settings"), "all_settings", fail)


def test_an_error_is_one_line_without_passwords_and_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(StoreUnavailable("redis://:pw@h does\x1b[2J not\nanswer"), monkeypatch)
    said = mooring("settings")
    assert said.code == 3
    assert said.error_line == "mooring: redis://:***@h does not answer"


def test_an_internal_error_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(ZeroDivisionError("division by zero"), monkeypatch)
    said = mooring("settings")
    assert said.code == 70
    assert said.error_line == "mooring: internal error: ZeroDivisionError: division by zero (--debug shows where)"


def test_no_error_shows_a_session_id_or_a_handle_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    session = "abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
    handle = "mh~abcde.m.tab.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBB"
    _fail_with(KeyError(f"{session} and {handle}"), monkeypatch)
    line = mooring("settings").error_line
    assert line == "mooring: internal error: KeyError: 'abcde.AAAA... and mh~abcde...' (--debug shows where)"


@pytest.mark.parametrize("arguments", [("--debug", "settings"), ("settings", "--debug")])
def test_debug_shows_the_traceback(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_with(StoreUnavailable("gone"), monkeypatch)
    said = mooring(*arguments)
    assert said.code == 3
    assert said.err.startswith("Traceback (most recent call last):")
    assert said.err.endswith("mooring: gone\n")


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib.import_module("mooring.cli.settings"), "all_settings", interrupt)
    assert mooring("settings").code == 130
