from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from mooring.errors import ClusterError, StoreUnavailable
from mooring.hosting.listener import Listener

Listen = Callable[[str, int], Listener]


@pytest.fixture
def listen() -> Iterator[Listen]:
    opened: list[Listener] = []

    def listen(host: str, port: int) -> Listener:
        opened.append(Listener(host, port))
        return opened[-1]

    yield listen
    for listener in opened:
        listener.socket.close()


def test_port_0_is_a_free_one(listen: Listen) -> None:
    listener = listen("127.0.0.1", 0)
    assert listener.port > 0
    assert listener.url_for_peers(None) == f"http://127.0.0.1:{listener.port}"


def test_a_port_in_use_says_so(listen: Listen) -> None:
    port = listen("127.0.0.1", 0).port
    with pytest.raises(ClusterError, match=f"port {port} on 127.0.0.1 is in use: choose another one with --port"):
        listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_says_so(listen: Listen, host: str) -> None:
    with pytest.raises(ClusterError, match=f"{host} is no address of this machine"):
        listen(host, 0)


def test_ipv6_has_its_brackets(listen: Listen) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = listen("::1", 0)
    except ClusterError:
        pytest.skip("no IPv6 loopback here")
    assert listener.url_for_peers(None) == f"http://[::1]:{listener.port}"


@pytest.mark.parametrize(
    "redis_url", [None, "unix:///run/redis.sock", "redis://127.0.0.1:6379/0", "redis://u:p@127.0.0.1"]
)
def test_who_listens_everywhere_is_where_redis_is_reached_from(listen: Listen, redis_url: str | None) -> None:
    listener = listen("0.0.0.0", 0)
    assert listener.listens_everywhere
    assert listener.url_for_peers(redis_url) == f"http://127.0.0.1:{listener.port}"


def test_a_redis_host_that_cannot_be_found(listen: Listen) -> None:
    with pytest.raises(StoreUnavailable, match=r"Redis's host no-such-host\.invalid cannot be found"):
        listen("0.0.0.0", 0).url_for_peers("redis://no-such-host.invalid:6379/0")


def test_one_that_was_inherited_is_at_the_same_place(listen: Listen) -> None:
    parents = listen("127.0.0.1", 0)
    worker = Listener.inherited(os.dup(parents.socket.fileno()))
    assert worker.url_for_peers(None) == parents.url_for_peers(None)
    with socket.create_connection(("127.0.0.1", worker.port)):
        accepted, _ = worker.socket.accept()
        accepted.close()
    assert worker.socket.getblocking() is False
    worker.socket.close()


@pytest.mark.parametrize(
    ("host", "address", "expected"),
    [
        ("0.0.0.0", "10.1.2.3", "http://10.1.2.3"),
        ("0.0.0.0", "fdaa::3", "http://127.0.0.1"),
        ("::", "fdaa::3", "http://[fdaa::3]"),
        ("::", "10.1.2.3", "http://10.1.2.3"),
        ("127.0.0.1", "10.1.2.3", "http://127.0.0.1"),
    ],
)
def test_a_node_is_where_its_platform_says(
    host: str, address: str, expected: str, monkeypatch: pytest.MonkeyPatch, listen: Listen
) -> None:
    monkeypatch.setenv("POD_IP", address)
    listener = listen(host, 0)
    assert listener.url_for_peers("redis://127.0.0.1:6379/0") == f"{expected}:{listener.port}"
