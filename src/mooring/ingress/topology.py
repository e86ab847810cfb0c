"""What an ingress has to know of a cluster: its nodes, where they are, which shards each one holds.

All of it ends up in routing rules, and much of it comes from a registry that other processes write to. So each value
is checked here, once, and what was checked needs no quoting further on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mooring.errors import SettingsError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII)
_SHARD: Final = re.compile(r"[a-z2-7]{5}", re.ASCII)
_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]_-]+", re.ASCII)
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+=:@-]+)+", re.ASCII)


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
            if not _SHARD.fullmatch(shard):
                raise ValueError(f"a shard is five characters of a-z and 2-7, not {shard!r}")


@dataclass(frozen=True, slots=True)
class Topology:
    """All nodes that are alive, and the paths that they serve.

    Attributes:
        mcp_path: the MCP endpoint; what lies below belongs to it.
        health_path: answers 200 while a node serves what it holds.
        ready_path: answers 200 while a node takes new sessions.

    Raises:
        SettingsError: a path that cannot be put into a rule or a cookie.
        ValueError: two backends of one name, or one shard in two places.
    """

    backends: tuple[Backend, ...]
    mcp_path: str = "/mcp"
    health_path: str = "/healthz"
    ready_path: str = "/readyz"

    def __post_init__(self) -> None:
        for setting in ("mcp_path", "health_path", "ready_path"):
            path = getattr(self, setting)
            if not _PATH.fullmatch(path):
                raise SettingsError(
                    setting, path, "an ingress can route a path such as /mcp, of letters, digits and '-._~'"
                )
        _refuse_doubles("backend", (backend.name for backend in self.backends))
        _refuse_doubles("shard", (shard for backend in self.backends for shard in backend.shards))

    @property
    def ready(self) -> tuple[Backend, ...]:
        """The backends for new sessions; all of them where none says it is ready, since health checks know better."""
        return tuple(backend for backend in self.backends if backend.ready) or self.backends


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
