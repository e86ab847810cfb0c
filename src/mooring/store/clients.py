"""redis-py's client for each kind of `redis_url`: one server, a primary that sentinels know, or a cluster.

    redis://user:password@host:6379/0                      one server; also rediss:// (TLS) and unix:///path
    redis+sentinel://user:password@h1:26379,h2/name/0      the primary `name`; the sentinels' own password, where they
                                                           have one, as ?sentinel_password=…
    redis+cluster://user:password@h1:6379,h2               a cluster, found from any of its nodes

With TLS the last two begin with `rediss+`. A query (`?ssl_ca_certs=/path`) is as redis-py has it for one server.

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
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_URL: Final = re.compile(
    r"(?P<tls>rediss?)\+(?P<kind>sentinel|cluster)://(?:(?P<login>[^/]*)@)?(?P<hosts>[^/?@]+)"
    r"(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?"
)
_HOST: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_OURS: Final = frozenset({"decode_responses", "retry"})
"""Options that are for us to choose: with the first, nothing that Redis answers would be read."""
_UNEXPECTED: Final = re.compile(r"unexpected keyword argument '(\w+)'")
_SENTINEL_PORT, _PORT = 26379, 6379


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


def client_of(url: str, timeout_seconds: float) -> Any:
    """
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
        client = make(common, Retry(NoBackoff(), 0))
        _try_options(client)
    except TypeError as error:
        found = _UNEXPECTED.search(str(error))
        raise ValueError(f"redis-py's connections have no such option: {found[1] if found else error}") from error
    return client


def _try_options(client: Any) -> None:
    """Make the connections that would be made first, without connecting.

    Raises:
        TypeError: one of the options is none.
    """
    pools = [one.connection_pool for one in _clients_in(client)]
    for pool in pools:
        pool.connection_class(**pool.connection_kwargs)


def _clients_in(client: Any) -> list[Any]:
    """Itself, and those of sentinels; a cluster's has tried its options when it was made."""
    if isinstance(client, RedisCluster):
        return []
    manager = getattr(client.connection_pool, "sentinel_manager", None)
    return [client, *(manager.sentinels if manager is not None else ())]


def check(url: str) -> Callable[[dict[str, Any], Retry], Any]:
    """What makes the client.

    Raises:
        ValueError: the URL is none of these.
    """
    names = {name for name, _ in parse_qsl(urlsplit(url).query)} & _OURS
    if names:
        raise ValueError(f"Mooring reads what Redis says in its own way, without {', '.join(sorted(names))}")
    if url.startswith(_SCHEMES):
        if not url.startswith("unix:") and re.search("[^/0-9]", urlsplit(url).path):
            raise ValueError("the database is a number: redis://host:6379/0")
        return functools.partial(_single, url)
    address = parse(url)
    return functools.partial(_primary if address.kind == "sentinel" else _cluster, address)


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
    sentinel = {name.removeprefix("sentinel_"): query.pop(name) for name in list(query) if name.startswith("sentinel_")}
    # redis-py reads a query itself, and knows which options are numbers: so it gets a URL of one server to read.
    options = _read(f"redis://localhost/{db}?{urlencode(query)}") | _login(parts["login"])
    if parts["tls"] == "rediss":
        options["ssl"] = True
        sentinel = {name: value for name, value in options.items() if name.startswith("ssl")} | sentinel
    if not is_sentinel:
        options.pop("db", None)
    return Address(parts["kind"], hosts, unquote(name), options, sentinel)


def _read(url: str) -> dict[str, Any]:
    return {name: value for name, value in parse_url(url).items() if name != "host"}


def _login(login: str | None) -> dict[str, str]:
    user, _, password = (login or "").partition(":")
    return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = _HOST.fullmatch(text)
    if parts is None or not 0 < int(parts["port"] or default_port) < 65536:
        raise ValueError("hosts with their ports, joined by commas, such as redis-1:26379,redis-2:26379")
    return parts["host"].strip("[]"), int(parts["port"] or default_port)


def _single(url: str, common: dict[str, Any], retry: Retry) -> Any:
    return Redis.from_url(url, max_connections=1, retry=retry, **common)


def _primary(address: Address, common: dict[str, Any], retry: Retry) -> Any:
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        list(address.hosts),
        sentinel_kwargs=common | address.sentinel_options | {"retry": retry, "max_connections": 2},
        **(common | address.options | {"retry": retry}),
    )
    return sentinel.master_for(address.name, max_connections=1)


def _cluster(address: Address, common: dict[str, Any], retry: Retry) -> Any:
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    return RedisCluster(startup_nodes=nodes, retry=retry, **(common | address.options))
