"""What all load balancers have in common: what the operator chooses, and what one module has to offer for each.

A module for a load balancer makes text from a `Topology`, and does nothing else: it reads no file but its own template,
and starts nothing. `mooring.ingress.catalogue` lists them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final, Protocol, TypeAlias

from mooring.errors import ClusterError
from mooring.ingress.topology import COOKIE, Backend, Topology

Files: TypeAlias = Mapping[Path, str]
"""The text of each file, in the order in which they have to be written; the last one is what the program is started
with."""

SILENT_MINUTES: Final = 65
"""How long a stream may say nothing. A silent stream lives for an hour; this is a little more."""

IDLE_SECONDS: Final = 4
"""How long an idle connection to a node is kept: uvicorn by itself closes them after 5 s, and a request that meets the
end of its connection fails."""

ADDRESS: Final = "127.0.0.1:8080"
"""Where clients come in, if the operator says nothing."""

_ADDRESS: Final = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the operator chooses, the same for every load balancer.

    Attributes:
        address: where clients come in, as `host:port`; all addresses of IPv4 where the host is empty, and those of both
            kinds where it is `[::]`.
        secure_cookie: clients send the cookie over https alone; off only where the ingress is plain http.
    """

    address: str = ADDRESS
    secure_cookie: bool = True

    @property
    def has_address(self) -> bool:
        """Whether the address is one."""
        return bool(_ADDRESS.fullmatch(self.address)) and 0 < int(self.port) < 65_536

    @property
    def host(self) -> str:
        """Without brackets; empty for all addresses."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def is_of_both_kinds(self) -> bool:
        """Whether it is all addresses of IPv6, and those of IPv4 as well."""
        return ":" in self.host and not self.host.strip("0:")

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]


class Proxy(Protocol):
    """One load balancer; a module is one.

    Attributes:
        NAME: in `mooring ingress <name>`.
        PROGRAM: the program, and which releases of it the configuration is for.
        FILE: what its configuration is usually called.
        RELOAD: the command that makes the program read its configuration again, in which `{file}` stands for the file;
            `unix:PATH WORDS` for words that go to a socket; empty where the program watches its files itself.
    """

    @property
    def NAME(self) -> str: ...  # noqa: N802 # a constant of a module

    @property
    def PROGRAM(self) -> str: ...  # noqa: N802

    @property
    def FILE(self) -> str: ...  # noqa: N802

    @property
    def RELOAD(self) -> str: ...  # noqa: N802

    def whole(self, topology: Topology, choice: Choice, file: Path) -> Files:
        """A configuration that the program can be started with as it is.

        Raises:
            ClusterError: no node is alive, or one is where this load balancer cannot reach it.
        """

    def part(self, topology: Topology, choice: Choice, file: Path) -> Files:
        """Only what belongs into the operator's own configuration; raises as `whole` does."""


class _AtTemplate(Template):
    """The dollar signs are nginx's, and the braces those of all."""

    delimiter = "@"


def fill(template: str, **values: object) -> str:
    """The template of that name, with these values in the places of `@name`."""
    text = (files("mooring.ingress") / "templates" / template).read_text(encoding="utf-8")
    return _AtTemplate(text).substitute(values)


def beside(file: Path, what: str) -> Path:
    """Another file of the same configuration: `traefik.yml` -> `traefik-dynamic.yml`."""
    return file.with_name(f"{file.stem}-{what}{file.suffix}")


def cookie_of(topology: Topology, choice: Choice, mark: str) -> str:
    """The sticky cookie as `Set-Cookie` has it. It holds for the browser's session, as no age is given."""
    secure = "Secure; " if choice.secure_cookie else ""
    return f"{COOKIE}={mark}; Path={topology.cookie_path}; HttpOnly; {secure}SameSite=Strict"


def need_nodes(topology: Topology) -> None:
    """A configuration without nodes would answer 404 everywhere, or not even start.

    Raises:
        ClusterError: there are none.
    """
    if not topology.backends:
        raise ClusterError("no node is alive, so there is nothing to route to; start a node first")


def need_plain_nodes(topology: Topology, program: str) -> None:
    """For a load balancer that is configured for nodes over http alone.

    Raises:
        ClusterError: there are no nodes, or one is reached over https.
    """
    need_nodes(topology)
    for backend in topology.backends:
        if backend.is_https:
            raise ClusterError(
                f"{program} is configured for nodes over http, but {backend.name} is at {backend.url}: use Traefik, or "
                "let nodes advertise http on a network of their own"
            )


def first_then_others(backend: Backend, topology: Topology) -> tuple[Backend, ...]:
    """The order in which nodes are tried for `backend`'s requests: before the rest those that take new sessions."""
    ready = topology.ready
    rest = (*ready, *(other for other in topology.backends if other not in ready))
    return (backend, *(other for other in rest if other != backend))
