from __future__ import annotations

import pytest

from mooring.errors import StoreUnavailable
from mooring.processes.addresses import address_towards, is_on_this_machine


@pytest.mark.parametrize("redis_url", [None, "unix:///run/redis.sock", "redis://127.0.0.1:6379/0", "redis://localhost"])
def test_towards_a_redis_on_this_machine_it_is_this_machine_alone(redis_url: str | None) -> None:
    assert address_towards(redis_url) in ("127.0.0.1", "::1")


def test_of_several_servers_the_first_is_asked() -> None:
    assert address_towards("redis+sentinel://u:p@127.0.0.1:26379,no-such-host.invalid:26379/name") == "127.0.0.1"


@pytest.mark.parametrize("letter", ["?", "#", "[", "[w]", "@", ":"])
def test_a_password_of_several_servers_may_have_any_letter_but_a_slash(letter: str) -> None:
    url = f"redis+sentinel://:p{letter}w@no-such-host.invalid:26379/name"
    assert not is_on_this_machine(url)
    with pytest.raises(StoreUnavailable, match=r"Redis's host no-such-host\.invalid cannot be found"):
        address_towards(url)


def test_a_redis_host_that_cannot_be_found() -> None:
    with pytest.raises(StoreUnavailable, match=r"Redis's host no-such-host\.invalid cannot be found"):
        address_towards("redis://no-such-host.invalid:6379/0")


@pytest.mark.parametrize(
    ("redis_url", "here"),
    [
        ("unix:///run/redis.sock", True),
        ("redis://localhost/0", True),
        ("redis://127.0.0.2:6379", True),
        ("redis://[::1]:6379", True),
        ("redis://10.0.0.1:6379", False),
        ("rediss://redis.internal", False),
    ],
)
def test_whether_all_nodes_are_on_this_machine(redis_url: str, here: bool) -> None:
    assert is_on_this_machine(redis_url) is here
