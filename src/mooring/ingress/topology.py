"""What an ingress has to know of a cluster: its nodes, where they are, which shards each one holds.

All of it ends up in routing rules, and much of it comes from a registry that other processes write to. So each value
is checked here, once, and what was checked needs no quoting further on. `topology_of` makes it from a view of the
cluster.
"""

from __future__ import annotations

import functools
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from mooring.core.ids import is_shard
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo
from mooring.core.ownership import ClusterView
from mooring.errors import SettingsError

logger = logging.getLogger("mooring.ingress")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII)
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+", re.ASCII)
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+=:@-]+)+", re.ASCII)
_ENDPOINT: Final = re.compile(r"/|(/([A-Za-z0-9._~!$&'()*+=:@-]|\{[A-Za-z0-9_]+\})+)+", re.ASCII)


_ROUTABLE: Final = "an ingress can route a path such as /mcp, of letters, digits and '-._~'"


@dataclass(frozen=True, slots=True)
class Backend:
    """One node, as the ingress sees it.

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


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes that are alive, and the paths that they serve.

    Attributes:
        endpoints: the MCP endpoints, `{name}` standing for any one part of a path; all below one belongs to it.
        health_path: answers 200 while a node serves what it holds.
        ready_path: answers 200 while a node takes new sessions.

    Raises:
        SettingsError: a path that cannot be put into a rule or a cookie.
        ValueError: two backends of one name, or one shard in two places.
    """

    backends: tuple[Backend, ...]
    endpoints: tuple[str, ...] = ("/mcp",)
    health_path: str = "/healthz"
    ready_path: str = "/readyz"

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


class Paths(Protocol):
    """The part of the settings that routing rules are made of; as in `Topology`."""

    @property
    def endpoints(self) -> tuple[str, ...]: ...

    @property
    def health_path(self) -> str: ...

    @property
    def ready_path(self) -> str: ...


def topology_of(view: ClusterView, paths: Paths) -> Topology:
    """The nodes of `view` that are alive, by name.

    - Two nodes at one URL: only the younger one can be there; the other died without a goodbye, its lease still runs.
    - Two nodes of one name, as while one replaces the other: the one that takes new sessions gets the name, or else
      the younger; so a cookie that was set before the change leads to the new node. The others are called
      `<name>_<end of their id>`.
    - A node whose own details cannot be routed to is left out: it must not stop the rest from being followed.
    - The endpoints are those of the settings, and those that nodes say they have found.
    """
    # One without a URL is a node whose entry cannot be read: nothing can be sent there.
    infos = _youngest_by_url([info for info in view.alive() if info.url])
    named: dict[str, Backend] = {}
    for info in sorted(infos, key=lambda info: (info.state in TAKES_NEW_SESSIONS, info.started, info.id), reverse=True):
        name = info.name if info.name not in named else f"{info.name}_{info.id.removeprefix(f'{info.name}-')}"
        shards = tuple(shard for shard in view.shards_of(info.id) if is_shard(shard))
        try:
            named[name] = Backend(name, info.url, shards, info.state in TAKES_NEW_SESSIONS)
        except ValueError as error:
            _complain(info.id, f"gets no traffic: {error}")
    return Topology(
        tuple(named[name] for name in sorted(named)),
        endpoints=_endpoints(paths.endpoints, infos),
        health_path=paths.health_path,
        ready_path=paths.ready_path,
    )


def _endpoints(known: tuple[str, ...], infos: Iterable[NodeInfo]) -> tuple[str, ...]:
    found = {endpoint: info.id for info in infos for endpoint in info.endpoints if endpoint not in known}
    for endpoint in [endpoint for endpoint in found if not _ENDPOINT.fullmatch(endpoint)]:
        _complain(found.pop(endpoint), f"its endpoint {endpoint!r} cannot be routed by path: {_ROUTABLE}")
    return (*known, *sorted(found))


def _youngest_by_url(infos: list[NodeInfo]) -> list[NodeInfo]:
    by_age = sorted(infos, key=lambda info: (info.started, info.id))
    return list({info.url: info for info in by_age}.values())


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
