"""redis-py's client for each kind of `redis_url`: one server, a primary that sentinels know, or a cluster.

    redis://user:password@host:6379/0                      one server; also rediss:// (TLS) and unix:///path
    redis+sentinel://user:password@h1:26379,h2/name/0      the primary `name`; the sentinels' own password, where they
                                                           have one, as ?sentinel_password=…; so with all that
                                                           differs for them (&sentinel_ssl=false)
    redis+cluster://user:password@h1:6379,h2               a cluster, found from any of its nodes

With TLS the last two begin with `rediss+`. A query (`?ssl_ca_certs=/path`) is as redis-py has it for one server; but
answers are bytes, whatever it says.

Each client makes a single connection to a server, and a sentinel is asked on one more between two commands (`primary`).
None tries anything a second time.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_URL: Final = re.compile(
    r"(?P<tls>rediss?)\+(?P<kind>sentinel|cluster)://(?:(?P<login>[^/]*)@)?(?P<hosts>[^/?@]+)"
    r"(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_SENTINEL_PORT, _PORT = 26379, 6379
_BYTES: Final[dict[str, Any]] = {"decode_responses": False, "encoding": "utf-8", "encoding_errors": "strict"}
_NOT_IN_URLS: Final = frozenset(
    {"retry", "retry_on_error", "credential_provider", "event_dispatcher", "redis_connect_func", "legacy_responses"}
)
"""redis-py's options that are objects, and one that has it answer in other forms."""
_UNEXPECTED: Final = re.compile("unexpected keyword argument '([A-Za-z0-9_]+)'")


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL of many hosts says.

    Attributes:
        options: for redis-py's connections.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    name: str
    options: dict[str, Any]
    sentinel_options: dict[str, Any]


def client_of(url: str, timeout_seconds: float, *, waits_seconds: float = 0.0) -> Any:
    """
    Args:
        timeout_seconds: how long Redis may take for one answer, where the URL does not say it (`socket_timeout`).
        waits_seconds: how much longer, since it is asked to wait with its answers.

    Raises:
        ValueError: the URL is none of these.
    """
    common: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "client_name": "mooring",
    }
    make = check(url)
    try:
        return make(common, Retry(NoBackoff(), 0), waits_seconds)
    except TypeError as error:
        raise _unknown_option(error) from None


def try_out(client: Any) -> None:
    """Make the client's connections, and connect to nobody. redis-py looks at most options only when it connects, so
    that a wrong one would be as if Redis did not answer; or worse.

    Raises:
        ValueError: one of the URL's options is wrong.
    """
    try:
        for pool in _pools(client):
            connection = pool.connection_class(**pool.connection_kwargs)
            if hasattr(connection, "ssl_context"):
                connection.ssl_context.get()
    except TypeError as error:
        raise _unknown_option(error) from None
    except RedisError as error:
        raise ValueError(f"redis-py refuses one of its options: {error}") from None
    except OSError as error:
        raise ValueError(
            f"its certificates or keys cannot be read: {error.strerror or type(error).__name__} (ssl_ca_certs, "
            "ssl_certfile, ssl_keyfile)"
        ) from None


def database_of(client: Any) -> int:
    """The number of the database that the client uses; a cluster has one alone."""
    return 0 if isinstance(client, RedisCluster) else int(client.connection_pool.connection_kwargs.get("db") or 0)


def _pools(client: Any) -> list[Any]:
    """Of each kind of the client's connections one pool."""
    if isinstance(client, RedisCluster):
        options = {
            name: value for name, value in client.connection_kwargs.items() if name.startswith(("ssl", "protocol"))
        }
        is_tls = client.connection_kwargs.get("connection_class") is SSLConnection
        return [Redis(ssl=is_tls, **options).connection_pool]
    pool = client.connection_pool
    sentinels = pool.sentinel_manager.sentinels[:1] if isinstance(pool, SentinelConnectionPool) else []
    return [pool, *(sentinel.connection_pool for sentinel in sentinels)]


def _unknown_option(error: TypeError) -> ValueError:
    found = _UNEXPECTED.search(str(error))
    name = "one of its options" if found is None else f"the option {found[1]}"
    return ValueError(f"redis-py does not know {name} for such a connection")


def check(url: str) -> Callable[[dict[str, Any], Retry, float], Any]:
    """What makes the client.

    Raises:
        ValueError: the URL is none of these.
    """
    unfit = next((name for name, _ in parse_qsl(url.partition("?")[2]) if name in _NOT_IN_URLS), None)
    if unfit is not None:
        raise ValueError(f"the option {unfit} is for programs, and no URL can say it")
    if url.startswith(_SCHEMES):
        _check_server(url)
        return functools.partial(_single, url)
    address = parse(url)
    return functools.partial(_primary if address.kind == "sentinel" else _cluster, address)


def _check_server(url: str) -> None:
    """What Python says of a URL that it cannot read has a part of the password in it, and redis-py takes 0 for the
    database where that is no number.

    Raises:
        ValueError: its host, its port or its database cannot be read.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "its host or its port cannot be read; of a password, letters such as / ? # [ are written as %2F %3F %23 %5B"
        ) from None
    if parts.scheme != "unix" and not re.fullmatch("/*[0-9]*/*", parts.path):
        raise ValueError("the database is a number: redis://host:6379/0")


def parse(url: str) -> Address:
    """
    Raises:
        ValueError: it is no URL of sentinels or of a cluster.
    """
    parts = _URL.fullmatch(url)
    if parts is None:
        raise ValueError("not a URL of Redis")
    is_sentinel = parts["kind"] == "sentinel"
    hosts = tuple(_host(text, _SENTINEL_PORT if is_sentinel else _PORT) for text in parts["hosts"].split(","))
    name, _, db = (parts["path"] or "").partition("/")
    if is_sentinel and not name:
        raise ValueError("the name of the primary is missing: redis+sentinel://host:26379/name")
    if not re.fullmatch("[0-9]*", db):
        raise ValueError("the database is a number: redis+sentinel://host:26379/name/0")
    if not is_sentinel and name not in ("", "0"):
        raise ValueError("a cluster has database 0 alone")
    query = dict(parse_qsl(parts["query"] or ""))
    sentinel: dict[str, Any] = {
        name.removeprefix("sentinel_"): query.pop(name) for name in list(query) if name.startswith("sentinel_")
    }
    # redis-py reads a query itself, and knows which options are numbers: so it gets a URL of one server to read.
    options = _read(f"redis://localhost/{db}?{urlencode(query)}") | _login(parts["login"])
    sentinel = _read(f"redis://localhost?{urlencode(sentinel)}")
    if "ssl" in sentinel:
        sentinel["ssl"] = _is_true(sentinel["ssl"])
    if parts["tls"] == "rediss":
        options["ssl"] = True
        sentinel = {name: value for name, value in options.items() if name.startswith("ssl")} | sentinel
    if not is_sentinel:
        options.pop("db", None)
        options |= _of_cluster(options)
    return Address(parts["kind"], hosts, unquote(name), options, sentinel)


def _of_cluster(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a cluster alone, which redis-py reads in no URL, as what they are."""
    try:
        return {name: read(options[name]) for name, read in _CLUSTERS.items() if name in options}
    except ValueError:
        raise ValueError("one of its options is no number") from None


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "yes", "1")


def _read(url: str) -> dict[str, Any]:
    return {name: value for name, value in parse_url(url).items() if name != "host"}


def _login(login: str | None) -> dict[str, str]:
    user, _, password = (login or "").partition(":")
    return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = _HOST.fullmatch(text)
    if parts is None or not 0 < int(parts["port"] or default_port) < 65536:
        raise ValueError(
            "hosts with their ports, joined by commas, such as redis-1:26379,redis-2:26379; a slash in a password is "
            "written as %2F"
        )
    return parts["host"].strip("[]"), int(parts["port"] or default_port)


_CLUSTERS: Final[dict[str, Callable[[str], Any]]] = {
    "require_full_coverage": _is_true,
    "dynamic_startup_nodes": _is_true,
    "read_from_replicas": _is_true,
    "reinitialize_steps": int,
    "cluster_error_retry_attempts": int,
}


def _single(url: str, common: dict[str, Any], retry: Retry, waits_seconds: float) -> Any:
    client: Any = Redis.from_url(url, max_connections=1, retry=retry, **common)
    options = client.connection_pool.connection_kwargs  # what is in the URL counts more than what is given here
    options.update(_patient(options, waits_seconds))
    return client


def _primary(address: Address, common: dict[str, Any], retry: Retry, waits_seconds: float) -> Any:
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs=common | address.sentinel_options | _BYTES | {"retry": retry, "max_connections": 2},
        **(_patient(common | address.options, waits_seconds) | {"retry": retry}),
    )
    return sentinel.master_for(address.name, max_connections=1)


def _cluster(address: Address, common: dict[str, Any], retry: Retry, waits_seconds: float) -> Any:
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    return RedisCluster(startup_nodes=nodes, retry=retry, **_patient(common | address.options, waits_seconds))


def _patient(options: dict[str, Any], waits_seconds: float) -> dict[str, Any]:
    return options | _BYTES | {"socket_timeout": options["socket_timeout"] + waits_seconds}
