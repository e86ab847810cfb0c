"""What each kind of `redis_url` means, and what becomes of a store when the server behind it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from mooring.core.masking import masked
from mooring.core.model import Written
from mooring.errors import SettingsError, StoreUnavailable
from mooring.processes.addresses import is_on_this_machine
from mooring.settings import Settings
from mooring.store import RedisStore
from mooring.store.clients import Address, client_of, parse
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.redis_groups import PASSWORD, SENTINEL_PASSWORD, Group, real_cluster, real_sentinel, real_single
from tests.store.examples import NODE, RECORD, SEALS
from tests.waiting import until

real = pytest.mark.real


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (
            "redis+sentinel://user:p%40ss@h1:26379,h2/main/3?sentinel_password=other&health_check_interval=5",
            Address(
                "sentinel",
                (("h1", 26379), ("h2", 26379)),
                "main",
                {"username": "user", "password": "p@ss", "db": 3, "health_check_interval": 5},
                {"password": "other"},
            ),
        ),
        (
            "rediss+sentinel://h/main?ssl_check_hostname=false&sentinel_ssl=False&sentinel_socket_timeout=5",
            Address(
                "sentinel",
                (("h", 26379),),
                "main",
                {"ssl": True, "ssl_check_hostname": False},
                {"ssl": False, "ssl_check_hostname": False, "socket_timeout": 5.0},
            ),
        ),
        (
            "rediss+sentinel://h/main?sentinel_ssl_check_hostname=false&sentinel_password=5",
            Address(
                "sentinel",
                (("h", 26379),),
                "main",
                {"ssl": True},
                {"ssl": True, "ssl_check_hostname": False, "password": "5"},
            ),
        ),
        ("redis+sentinel://[::1]:5/my-main", Address("sentinel", (("::1", 5),), "my-main", {}, {})),
        ("rediss+sentinel://h/main", Address("sentinel", (("h", 26379),), "main", {"ssl": True}, {"ssl": True})),
        ("redis+cluster://h1:7000,h2", Address("cluster", (("h1", 7000), ("h2", 6379)), "", {}, {})),
        (
            "redis+cluster://h?require_full_coverage=false&reinitialize_steps=3",
            Address("cluster", (("h", 6379),), "", {"require_full_coverage": False, "reinitialize_steps": 3}, {}),
        ),
        ("redis+cluster://:pw@h/0", Address("cluster", (("h", 6379),), "0", {"password": "pw"}, {})),
        (
            "rediss+cluster://h/?ssl_ca_certs=/ca.pem",
            Address(
                "cluster",
                (("h", 6379),),
                "",
                {"ssl": True, "ssl_ca_certs": "/ca.pem"},
                {"ssl": True, "ssl_ca_certs": "/ca.pem"},
            ),
        ),
    ],
)
def test_what_a_url_of_several_servers_says(url: str, address: Address) -> None:
    assert parse(url) == address
    assert Settings.load(redis_url=url).redis_url == url
    client_of(url, 1)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h1,h2",
        "redis+sentinel://h1,h2/",
        "redis+sentinel:///main",
        "redis+sentinel://h1:99999/main",
        "redis+sentinel://h1:port/main",
        "redis+sentinel://h1,,h2/main",
        "redis+cluster://h/1",
        "redis+cluster://",
        "redis+sentinel://h/main/db",
        "rediss://h:6379/mooring",
        "redis+cluster://h?reinitialize_steps=few",
        "http://h",
    ],
)
def test_what_no_url_of_redis_is(url: str) -> None:
    with pytest.raises(SettingsError, match="redis_url"):
        RedisStore(url.replace("://", "://user:hunter2@", 1), "mcp", timeout_seconds=1, seals=SEALS)


@pytest.mark.parametrize("server", ["redis://h", "unix:///h.sock", "redis+sentinel://h/main", "redis+cluster://h"])
@pytest.mark.parametrize("option", ["no_such_option=1", "retry=5"])
def test_an_option_that_no_connection_of_ours_has(server: str, option: str) -> None:
    with pytest.raises(SettingsError, match=rf"redis_url.*{option.partition('=')[0]}"):
        RedisStore(f"{server}?{option}", "mcp", timeout_seconds=1, seals=SEALS)


def test_an_option_that_no_sentinel_has() -> None:
    with pytest.raises(SettingsError, match=r"redis_url.*no_such"):
        RedisStore("redis+sentinel://h/main?sentinel_no_such=1", "mcp", timeout_seconds=1, seals=SEALS)


@pytest.mark.parametrize("server", ["redis://h/0", "rediss://h", "rediss+sentinel://h/main", "rediss+cluster://h"])
def test_options_of_connections(server: str) -> None:
    options = "health_check_interval=5&socket_keepalive=yes"
    RedisStore(f"{server}?{options}", "mcp", timeout_seconds=1, seals=SEALS)


@pytest.mark.parametrize("letter", ["/", "?", "#", "[", "[w]", "@", ":", "%", "&", "^"])
@pytest.mark.parametrize("kind", ["redis://:{}@h:1/0", "redis+sentinel://:{}@h:1/main", "redis+cluster://:{}@h:1"])
def test_no_letter_in_a_password_has_a_part_of_it_shown(kind: str, letter: str) -> None:
    url = kind.format(f"hunter2{letter}hunter3")
    is_read = letter in "@:%&^" or (kind.startswith("redis+") and letter != "/")
    assert Settings.load(redis_url=url).redis_url == url
    if is_read:
        RedisStore(url, "mcp", timeout_seconds=1, seals=SEALS)
        return
    with pytest.raises(SettingsError, match="%2F") as told:
        RedisStore(url, "mcp", timeout_seconds=1, seals=SEALS)
    assert "hunter" not in str(told.value)
    assert quote(letter[0], safe="") in str(told.value)


ALL_KINDS = ["redis://h:1/0", "redis+sentinel://h:1/main", "redis+cluster://h:1"]


@pytest.mark.parametrize("url", ALL_KINDS)
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("family=0", "does not know the option family"),
        ("protocol=9", "protocol must be"),
        ("retry=3", "the option retry is for programs"),
        ("legacy_responses=false", "the option legacy_responses is for programs"),
        ("ssl_cert_reqs=CERT_NONE", "CERT_NONE"),
        ("ssl_ca_certs=/no/such/file", "cannot be read: No such file or directory"),
        ("ssl_ca_certs=/dev/null", "cannot be read"),
    ],
)
def test_an_option_that_no_connection_takes_is_said_at_once(url: str, option: str, says: str) -> None:
    tls = "rediss" if option.startswith("ssl") else "redis"
    with pytest.raises(SettingsError, match=says):
        RedisStore(f"{url.replace('redis', tls, 1)}?{option}", "mcp", timeout_seconds=1, seals=SEALS)


def test_a_database_is_a_number_for_one_server_too() -> None:
    """redis-py takes any other for 0, which may be another cluster's."""
    with pytest.raises(SettingsError, match="the database is a number"):
        RedisStore("redis://h:1/staging", "mcp", timeout_seconds=1, seals=SEALS)


@real
@pytest.mark.parametrize("group", [real_single, real_sentinel, real_cluster], ids=["single", "sentinel", "cluster"])
async def test_answers_are_bytes_whatever_a_url_says(group: Callable[..., Any]) -> None:
    with group() as servers:
        url = f"{servers.url}?decode_responses=true&encoding=utf-16&protocol=3"
        store = RedisStore(url, "mcp", timeout_seconds=2, seals=SEALS)
        await store.register(NODE, 60)
        assert await store.save_session(RECORD, 600) is Written.DONE
        assert await store.load_session(RECORD.id) == RECORD
        await store.aclose()


def test_no_password_of_such_a_url_is_shown() -> None:
    url = "redis+sentinel://user:hunter2@h1,h2/main?sentinel_password=hunter3"
    assert masked(url) == "redis+sentinel://user:***@h1,h2/main?sentinel_password=***"


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("redis+sentinel://u:p,w@127.0.0.1:26379,127.0.0.1:26380/main", True),
        ("redis+cluster://localhost:1,localhost:2", True),
        ("redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/main", False),
        ("redis+cluster://[::1]:7000,[::1]:7001", True),
    ],
)
def test_where_several_servers_are_the_first_says(url: str, here: bool) -> None:
    assert is_on_this_machine(url) is here


@real
@pytest.mark.parametrize("group", [real_single, real_sentinel, real_cluster], ids=["single", "sentinel", "cluster"])
async def test_each_kind_speaks_tls_and_wants_a_password_and_says_what_it_misses(group: Callable[..., Any]) -> None:
    with group(tls=True, password=True) as servers:
        store = RedisStore(servers.url, "mcp", timeout_seconds=2, seals=SEALS)
        await store.register(NODE, 60)
        assert await store.save_session(RECORD, 600) is Written.DONE
        assert [record async for record in store.sessions()] == [RECORD]
        await store.aclose()
        password = quote(PASSWORD, safe="")
        without_ca = servers.url.replace(f"ssl_ca_certs={servers.ca}", "")
        for url, says in (
            (without_ca, r"cannot be spoken to over TLS|has no sentinel that"),
            (servers.url.replace("rediss", "redis").partition("?")[0], r"TLS.*rediss"),
            (servers.url.replace(password, "wrong"), "does not accept the user or the password"),
            (servers.url.replace(f":{password}@", ""), "does not accept the user or the password"),
        ):
            stranger = RedisStore(url, "mcp", timeout_seconds=2, seals=SEALS)
            with pytest.raises(StoreUnavailable, match=says) as told:
                await stranger.register(NODE, 60)
            assert PASSWORD not in str(told.value)
            assert password not in str(told.value)
            await stranger.aclose()


@real
async def test_sentinels_want_a_password_of_their_own() -> None:
    with real_sentinel(password=True) as servers:
        store = RedisStore(
            servers.url.replace(quote(SENTINEL_PASSWORD), "wrong"), "mcp", timeout_seconds=2, seals=SEALS
        )
        with pytest.raises(StoreUnavailable) as told:
            await store.register(NODE, 60)
        assert "has no sentinel that names its primary" in str(told.value)
        await store.aclose()


# A server that is well, and says no at times.


@real
@pytest.mark.parametrize("group", [real_single, real_sentinel, real_cluster], ids=["single", "sentinel", "cluster"])
async def test_a_connection_that_was_closed_for_being_idle_fails_nothing(group: Callable[..., Any]) -> None:
    with group() as servers:
        store = RedisStore(servers.url, "mcp", timeout_seconds=2, seals=SEALS)
        await store.register(NODE, 60)
        assert await store.save_session(RECORD, 600) is Written.DONE
        record = servers.primary_of(f"mcp:session:{{{RECORD.id}}}")
        servers.cli(record, "config", "set", "timeout", "1")

        async def nobody_is_connected() -> bool:
            return "name=mooring" not in await asyncio.to_thread(servers.cli, record, "client", "list")

        await until(nobody_is_connected, what="the server to close idle connections")
        assert await store.load_session(RECORD.id) == RECORD
        await until(nobody_is_connected, what="the server to close idle connections")
        assert await store.save_session(RECORD, 600) is Written.DONE
        await store.aclose()


@real
async def test_a_slot_that_is_on_its_way_to_another_server_is_said_to_be() -> None:
    with real_cluster() as servers:
        store = RedisStore(servers.url, "mcp", timeout_seconds=2, seals=SEALS)
        key = f"mcp:session:{{{RECORD.id}}}"
        assert await store.save_session(RECORD, 600) is Written.DONE
        source = servers.primary_of(key)
        target = servers.another_primary(source)
        slot = servers.cli(source, "cluster", "keyslot", key)
        servers.cli(target, "cluster", "setslot", slot, "importing", servers.cli(source, "cluster", "myid"))
        servers.cli(source, "cluster", "setslot", slot, "migrating", servers.cli(target, "cluster", "myid"))
        with pytest.raises(StoreUnavailable, match=r"is moving these keys .* \(TRYAGAIN\): wait") as told:
            await store.save_session(RECORD, 600)
        assert "is it running" not in str(told.value)
        servers.cli(source, "migrate", "127.0.0.1", str(target), key, "0", "1000")
        servers.everywhere("cluster", "setslot", slot, "node", servers.cli(target, "cluster", "myid"))
        assert await store.save_session(RECORD, 600) is Written.DONE
        await store.aclose()


# A server that dies, and another that takes its place.


@real
@pytest.mark.parametrize("group", [real_sentinel, lambda: real_cluster(replicas=1)], ids=["sentinel", "cluster"])
async def test_after_a_failover_the_store_goes_on_with_the_new_primary(group: Callable[[], Any]) -> None:
    with group() as servers:
        assert isinstance(servers, Group)
        store = RedisStore(servers.url, "mcp", timeout_seconds=1, seals=SEALS)
        await store.register(NODE, 60)
        await store.save_session(RECORD, 600)
        servers.kill_primary_of("mcp:{cluster}:nodes")

        async def writes() -> bool:
            try:
                await store.register(NODE, 60)
                assert await store.save_session(RECORD, 600) is Written.DONE
                return [record async for record in store.sessions()] == [RECORD]
            except StoreUnavailable:
                return False

        assert not await writes()
        await until(writes, what="the store to find the new primary")
        assert set((await store.snapshot()).leases) == {NODE.id}
        await store.aclose()


@real
async def test_sentinels_that_know_no_such_primary() -> None:
    with real_sentinel() as servers:
        store = RedisStore(servers.url.replace("/main", "/another"), "mcp", timeout_seconds=1, seals=SEALS)
        with pytest.raises(StoreUnavailable, match="has no sentinel that names its primary while registering"):
            await store.register(NODE, 60)
        await store.aclose()


@real
async def test_one_server_is_no_cluster() -> None:
    port = free_port()
    async with real_redis("valkey", "--port", str(port), "--bind", "127.0.0.1"):
        store = RedisStore(f"redis+cluster://127.0.0.1:{port}", "mcp", timeout_seconds=1, seals=SEALS)
        with pytest.raises(StoreUnavailable, match="is no cluster while registering"):
            await store.register(NODE, 60)
        await store.aclose()


@pytest.mark.parametrize("url", ["redis+sentinel://127.0.0.1:1,127.0.0.1:2/main", "redis+cluster://127.0.0.1:1"])
async def test_nobody_is_there(url: str) -> None:
    store = RedisStore(url, "mcp", timeout_seconds=1, seals=SEALS)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"does not answer while|has no sentinel that names its primary"):
            await store.register(NODE, 60)
    await store.aclose()


# Evictions.


@real
@pytest.mark.parametrize(
    ("policy", "limit", "drops"),
    [
        ("allkeys-lru", "100mb", "leases and sessions"),
        ("volatile-ttl", "100mb", "sessions"),
        ("noeviction", "100mb", ""),
        ("allkeys-lru", "0", ""),
    ],
)
async def test_a_redis_that_may_drop_keys_is_warned_of_once(
    policy: str, limit: str, drops: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with real_redis("valkey", "--maxmemory-policy", policy, "--maxmemory", limit) as server:
        store = RedisStore(server.url, "mcp", timeout_seconds=2, seals=SEALS)
        for _ in range(3):
            await store.register(NODE, 5)
        await store.aclose()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == bool(drops)
    assert all(f"may drop {drops} when" in text and f"noeviction, not {policy}" in text for text in told)
