from __future__ import annotations

import errno
import socket

import pytest

from mooring.errors import ClusterError
from mooring.processes import ports
from mooring.processes.ports import check_free, free_port, from_here, join


def test_a_free_port_is_free() -> None:
    check_free("127.0.0.1", free_port())


def test_a_port_in_use_is_named_with_the_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"port {port} on 127.0.0.1 is in use: .*--port"):
            check_free("127.0.0.1", port)


def test_a_port_that_can_be_shared_is_in_use_all_the_same() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener,
        pytest.raises(ClusterError, match="in use"),
    ):
        check_free("127.0.0.1", listener.getsockname()[1])


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ClusterError, match=r"192\.0\.2\.1 is no address of this machine"):
        check_free("192.0.2.1", 8080)


def test_a_port_for_which_we_lack_the_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int, backlog: int) -> socket.socket:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ports, "_listen", refuse)
    with pytest.raises(ClusterError, match=r"port 80 needs more rights .*--port"):
        check_free("127.0.0.1", 80)


def test_anything_else_is_said_with_the_systems_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int, backlog: int) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(ports, "_listen", refuse)
    with pytest.raises(ClusterError, match=r"cannot listen on \[::1\]:8080: Too many open files"):
        check_free("::1", 8080)


@pytest.mark.parametrize(("host", "joined"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")])
def test_an_ipv6_address_gets_its_brackets(host: str, joined: str) -> None:
    assert join(host, 80) == joined


@pytest.mark.parametrize(
    ("host", "from_this_machine"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("0:0:0:0:0:0:0:0", "::1"),
        ("10.0.0.7", "10.0.0.7"),
        ("localhost", "localhost"),
    ],
)
def test_who_listens_everywhere_is_reached_at_an_address_that_is_always_there(
    host: str, from_this_machine: str
) -> None:
    """`mooring up --host "$UNSET"` waited for itself at http://:8080, until its time was over."""
    assert from_here(host) == from_this_machine
