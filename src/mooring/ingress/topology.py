"""What an ingress has to know of a cluster: its nodes, where they are, which shards each one holds.

All of it ends up in routing rules, and much of it comes from a registry that other processes write to. So each value
is checked here, once, and what was checked needs no quoting further on. `topology_of` makes it from a view of the
cluster.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from mooring.core.handles import PREFIX
from mooring.core.ids import is_shard
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo
from mooring.core.ownership import ClusterView
from mooring.errors import SettingsError

logger = logging.getLogger("mooring.ingress")

COOKIE: Final = "_mcp_backend"
"""The sticky cookie, at every load balancer."""

SESSION_HEADER: Final = "Mcp-Session-Id"
NAME_HEADER: Final = "Mcp-Name"
"""It carries ids of tasks (revision 2026-07-28), which may be handles."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII)
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+", re.ASCII)
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+=:@-]+)+", re.ASCII)
_ENDPOINT: Final = re.compile(r"/|(/([A-Za-z0-9._~!$&'()*+=:@-]|\{[A-Za-z0-9_]+\})+)+", re.ASCII)
_VARIABLE: Final = re.compile(r"\{[^{}]+\}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/-]", re.ASCII)

_ROUTABLE: Final = "an ingress can route a path such as /mcp, of letters, digits and '-._~'"


@dataclass(frozen=True, slots=True)
class Backend:
    """One node, as the ingress sees it; or all the processes that share an address, which it cannot tell apart.

    Attributes:
        name: stays the same when the node is restarted: the sticky cookie is a hash of a name made from it.
        url: scheme, host and port, nothing else.
        shards: those that it owns now.
        ready: whether it takes new sessions.

    Raises:
        ValueError: a value that must not get into a rule.
    """

    name: str
    url: str
    shards: tuple[str, ...]
    ready: bool

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a backend's name is made of lower-case letters, digits, '-' and '_', not {self.name!r}")
        if not _is_origin(self.url):
            raise ValueError(f"a backend's URL is a scheme, a host and a port, not {self.url!r}")
        for shard in self.shards:
            if not is_shard(shard):
                raise ValueError(f"a shard is five characters of a-z and 2-7, not {shard!r}")

    @property
    def address(self) -> str:
        """Its host and port, as `host:port`; an IPv6 address is in brackets."""
        parts = urlsplit(self.url)
        return parts.netloc if parts.port else f"{parts.netloc}:{443 if self.is_https else 80}"

    @property
    def host(self) -> str:
        """Without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def is_https(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def mark(self) -> str:
        """What stands for it in the sticky cookie. It is made from the name, which tells nothing about the network."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]

    @property
    def session_ids(self) -> str:
        """A regular expression for the session ids that it holds, for where the beginning has to match."""
        return rf"^({'|'.join(self.shards)})\."

    @property
    def handles(self) -> str:
        """The same for handles of the modern era."""
        return rf"^{PREFIX}({'|'.join(self.shards)})\."


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes that are alive, and the paths that they serve.

    Attributes:
        endpoints: the MCP endpoints, `{name}` standing for any one part of a path; all below one belongs to it.
        health_path: answers 200 while a node serves what it holds.
        ready_path: answers 200 while a node takes new sessions.
        handle_headers: those that carry handles, besides `Mcp-Name`.

    Raises:
        SettingsError: a path that cannot be put into a rule or a cookie.
        ValueError: two backends of one name, or one shard in two places.
    """

    backends: tuple[Backend, ...]
    endpoints: tuple[str, ...] = ("/mcp",)
    health_path: str = "/healthz"
    ready_path: str = "/readyz"
    handle_headers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for endpoint in self.endpoints:
            if not _ENDPOINT.fullmatch(endpoint):
                raise SettingsError("mcp_path", endpoint, _ROUTABLE)
        for setting in ("health_path", "ready_path"):
            path = getattr(self, setting)
            if not _PATH.fullmatch(path):
                raise SettingsError(setting, path, _ROUTABLE)
        _refuse_doubles("backend", (backend.name for backend in self.backends))
        _refuse_doubles("shard", (shard for backend in self.backends for shard in backend.shards))

    @property
    def ready(self) -> tuple[Backend, ...]:
        """The backends for new sessions; all of them where none says it is ready, since health checks know better."""
        return tuple(backend for backend in self.backends if backend.ready) or self.backends

    @property
    def holders(self) -> tuple[Backend, ...]:
        """The backends that own shards."""
        return tuple(backend for backend in self.backends if backend.shards)

    @property
    def cookie_path(self) -> str:
        """A cookie is for one path: that of the only endpoint, or all."""
        only, *others = self.endpoints
        return "/" if others or "{" in only else only

    @property
    def path_pattern(self) -> str:
        """A regular expression for the paths of the endpoints, that PCRE and RE2 read in the same way.

        It needs no quoting in any configuration: what is not a letter, a digit, `_`, `-` or `/` is written as a number.
        """
        return f"^({'|'.join(_pattern_of(endpoint) for endpoint in self.endpoints)})"


def _pattern_of(endpoint: str) -> str:
    """An endpoint and all below it; below `/` is everything, so nothing belongs to that one."""
    if endpoint == "/":
        return "/$"
    parts = ("".join(map(_escaped, part)) for part in _VARIABLE.split(endpoint))
    return f"{'[^/]+'.join(parts)}(/|$)"


def _escaped(letter: str) -> str:
    return letter if _PLAIN.fullmatch(letter) else f"\\x{ord(letter):02x}"


class Paths(Protocol):
    """The part of the settings that routing rules are made of; as in `Topology`."""

    @property
    def endpoints(self) -> tuple[str, ...]: ...

    @property
    def health_path(self) -> str: ...

    @property
    def ready_path(self) -> str: ...

    @property
    def handle_headers(self) -> tuple[str, ...]: ...


def topology_of(view: ClusterView, paths: Paths) -> Topology:
    """The nodes of `view` that are alive, by name.

    - Several nodes at one URL, of which one says that its peers reach it elsewhere: workers that share an address. They
      are one backend with the shards of all; whichever gets a request passes it on.
    - Several nodes at one URL otherwise: only the youngest can be there; the others died without a goodbye, their
      leases still run.
    - Two nodes of one name, as while one replaces the other: the one that takes new sessions gets the name, or else
      the younger; so a cookie that was set before the change leads to the new node. The others are called
      `<name>_<end of their id>`.
    - A node whose own details cannot be routed to is left out: it must not stop the rest from being followed.
    - The endpoints are those of the settings, and those that nodes say they have found.
    """
    named: dict[str, Backend] = {}
    owned = view.shards_by_node()
    for infos in sorted(_at_one_url(view.alive()), key=lambda infos: max(map(_rank, infos)), reverse=True):
        first = min(infos, key=lambda info: (info.name, info.id))
        name = first.name if first.name not in named else f"{first.name}_{first.id.removeprefix(f'{first.name}-')}"
        shards = tuple(shard for info in infos for shard in owned.get(info.id, ()) if is_shard(shard))
        is_ready = any(info.state in TAKES_NEW_SESSIONS for info in infos)
        try:
            named[name] = Backend(name, first.url_for_clients, shards, is_ready)
        except ValueError as error:
            _complain(first.id, f"gets no traffic: {error}")
    return Topology(
        tuple(named[name] for name in sorted(named)),
        endpoints=_endpoints(paths.endpoints, view.alive()),
        health_path=paths.health_path,
        ready_path=paths.ready_path,
        handle_headers=paths.handle_headers,
    )


def _endpoints(known: tuple[str, ...], infos: Iterable[NodeInfo]) -> tuple[str, ...]:
    found = {endpoint: info.id for info in infos for endpoint in info.endpoints if endpoint not in known}
    for endpoint in [endpoint for endpoint in found if not _ENDPOINT.fullmatch(endpoint)]:
        _complain(found.pop(endpoint), f"its endpoint {endpoint!r} cannot be routed by path: {_ROUTABLE}")
    return (*known, *sorted(found))


def _at_one_url(infos: Iterable[NodeInfo]) -> Iterable[list[NodeInfo]]:
    """The nodes that can be there, by the URL at which clients reach them."""
    found: dict[str, list[NodeInfo]] = {}
    for info in infos:
        if info.url_for_clients:
            found.setdefault(info.url_for_clients, []).append(info)
        elif info.has_a_way:  # without one its entry cannot be read
            _complain(info.id, "gets no traffic: it does not know where clients reach it: set its advertise_url")
    for sharing in found.values():
        youngest = max(sharing, key=lambda info: (info.started, info.id))
        yield sharing if any(info.client_url is not None for info in sharing) else [youngest]


def _rank(info: NodeInfo) -> tuple[bool, float, str]:
    return info.state in TAKES_NEW_SESSIONS, info.started, info.id


@functools.cache
def _complain(node_id: str, reason: str) -> None:
    """Log each reason once: topologies are made several times a second."""
    logger.warning("node %r: %s", node_id, reason)


def _is_origin(url: str) -> bool:
    if not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _refuse_doubles(what: str, values: Iterable[str]) -> None:
    doubles = [value for value, times in Counter(values).items() if times > 1]
    if doubles:
        raise ValueError(f"the {what} {doubles[0]!r} is there twice")
