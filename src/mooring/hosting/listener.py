"""The port that a node listens on: taken before anything else is done, and its address as peers see it."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from mooring.errors import StoreUnavailable
from mooring.processes.ports import join, listen

BACKLOG = 2048


class Listener:
    """A listening socket. Connections wait in its backlog until the app is up.

    Args:
        port: 0 for any free one.

    Raises:
        ClusterError: one cannot listen there, and what to do.
    """

    def __init__(self, host: str, port: int) -> None:
        self.socket = listen(host, port, BACKLOG)
        self.host, self.port = self.socket.getsockname()[:2]

    @property
    def listens_everywhere(self) -> bool:
        """Whether it listens on every address of this machine, so that none of them says where it is."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def url_for_peers(self, redis_url: str | None) -> str:
        """Where peers reach this node.

        A node that listens everywhere is at the address from which it speaks to Redis, since its peers come from where
        Redis is: another machine of that network, or this machine alone.

        Raises:
            StoreUnavailable: Redis's host cannot be found.
        """
        host = _address_towards(redis_url) if self.listens_everywhere else self.host
        return f"http://{join(host, self.port)}"


def is_on_this_machine(redis_url: str) -> bool:
    """Whether nodes that use this Redis are all on this machine, as far as the URL says."""
    host = _first_server(redis_url).hostname
    if host is None or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _first_server(redis_url: str) -> SplitResult:
    """Of several servers (sentinels, or nodes of a cluster) the first: what is asked of one is true of all."""
    servers = urlsplit(redis_url).netloc.rpartition("@")[2]
    return urlsplit(f"//{servers.partition(',')[0]}")


def _address_towards(redis_url: str | None) -> str:
    """This machine's address on the way to Redis. No packet is sent: a datagram socket only looks up its route."""
    parts = _first_server(redis_url or "")
    if parts.hostname is None:
        return "127.0.0.1"
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            parts.hostname, parts.port or 6379, type=socket.SOCK_DGRAM
        ):
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
                return str(probe.getsockname()[0])
    except OSError as error:
        raise StoreUnavailable(f"Redis's host {parts.hostname} cannot be found: {error.strerror or error}") from error
    raise StoreUnavailable(f"Redis's host {parts.hostname} has no address")
