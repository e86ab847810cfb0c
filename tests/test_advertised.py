"""An address that names a variable or an interface, on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mooring import Settings, SettingsError, advertised
from mooring.advertised import looked_up, with_sample

LOOPBACK = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))


@pytest.fixture(autouse=True)
def of_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    monkeypatch.setenv("POD_IP6", "fd00::7")
    monkeypatch.setenv("PORT", "8000")
    monkeypatch.setenv("NOTHING", "")
    monkeypatch.setenv("TWO", "10.1.2.3 fd00::7")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://10.0.0.7:8000", "http://10.0.0.7:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("http://$POD_IP:8000", "http://10.1.2.3:8000"),
        ("http://${POD_IP}:$PORT", "http://10.1.2.3:8000"),
        ("http://[$POD_IP]:8000", "http://10.1.2.3:8000"),
        ("http://$POD_IP6:8000", "http://[fd00::7]:8000"),
        ("http://[${POD_IP6}]:8000", "http://[fd00::7]:8000"),
        (f"http://{{{LOOPBACK}}}:8000", "http://127.0.0.1:8000"),
    ],
)
def test_names_stand_for_what_the_machine_knows(url: str, found: str) -> None:
    assert looked_up(url) == found
    assert Settings.load(advertise_url=url).advertise_url == url
    assert Settings.load(advertise_url=url).placed().advertise_url == found


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://$POD_IP_ADDRESS:8000", "the variable POD_IP_ADDRESS is not set"),
        ("http://$NOTHING:8000", "the variable NOTHING is not set"),
        ("http://{eth99}:8000", f"there is no interface eth99 on this machine; it has .*{LOOPBACK}"),
    ],
)
def test_a_name_that_stands_for_nothing_is_told(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why) as caught:
        Settings.load(advertise_url=url).placed()
    assert (caught.value.name, caught.value.value) == ("advertise_url", url)


def test_a_variable_that_holds_no_address_is_told_with_what_it_made() -> None:
    with pytest.raises(SettingsError, match=r"'http://10\.1\.2\.3 fd00::7:8000' is wrong: where peers"):
        Settings.load(advertise_url="http://$TWO:8000").placed()


@pytest.mark.parametrize(
    "url", ["http://$:8000", "http://{}:8000", "http://{eth0:8000", "http://fd00::7:8000", "http://[fd00::7:8000"]
)
def test_what_is_no_name_is_no_address(url: str) -> None:
    with pytest.raises(SettingsError, match=r"http://\[fd00::7\]:8000"):
        Settings.load(advertise_url=url)


def test_an_interface_of_ipv6_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(
        f"fe8000000000000000fc00fffe000001 04 40 20 80 {LOOPBACK:>8}\n"
        "fd000000000000000000000000000001 05 40 00 82     else\n"
        f"fd000000000000000000000000000002 04 40 00 82 {LOOPBACK:>8}\n"
    )
    monkeypatch.setattr(advertised, "_IPV6_OF_LINUX", table)
    monkeypatch.setattr(advertised, "_ipv4", lambda interface: None)
    assert looked_up(f"http://{{{LOOPBACK}}}:8000") == "http://[fd00::2]:8000"
    table.write_text("")
    with pytest.raises(SettingsError, match="no address that another machine could use"):
        looked_up(f"http://{{{LOOPBACK}}}:8000")


def test_the_form_is_judged_before_anything_is_known() -> None:
    assert with_sample("http://${NOT_SET}:$PORT") == "http://1:1"
