from __future__ import annotations

import socket

import pytest

from mooring.settings import Settings
from mooring.settings.platforms import ADDRESS_VARIABLES, NAME_VARIABLES, address_variable, name_variable


@pytest.fixture(autouse=True)
def _no_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*NAME_VARIABLES, *ADDRESS_VARIABLES, "MOORING_NODE_NAME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("variable", NAME_VARIABLES)
def test_a_node_is_called_what_its_platform_calls_it(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "Counter--x7k2p.1")
    assert name_variable() == variable
    assert Settings.load().node_name == "counter--x7k2p-1"


def test_a_long_name_keeps_its_end_which_tells_it_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "a" * 70 + "-x7k2p")
    name = Settings.load().node_name
    assert len(name) == 63
    assert name.endswith("a-x7k2p")


@pytest.mark.parametrize("value", ["", "---", "名前"])
def test_what_makes_no_name_is_passed_over_or_becomes_one(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", value)
    monkeypatch.setattr(socket, "gethostname", lambda: "Host_1")
    assert Settings.load().node_name == ("node" if value else "host-1")


def test_what_somebody_set_counts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "pod")
    monkeypatch.setenv("MOORING_NODE_NAME", "chosen")
    assert Settings.load().node_name == "chosen"


@pytest.mark.parametrize(
    ("value", "is_ipv6", "found"),
    [
        ("10.1.2.3", None, True),
        ("10.1.2.3", False, True),
        ("10.1.2.3", True, False),
        ("fdaa::3", None, True),
        ("fdaa::3", False, False),
        ("not an address", None, False),
        ("", None, False),
    ],
)
@pytest.mark.parametrize("variable", ADDRESS_VARIABLES)
def test_an_address_is_taken_where_it_is_one_of_the_kind(
    variable: str, value: str, is_ipv6: bool | None, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert address_variable(is_ipv6=is_ipv6) == (variable if found else None)
