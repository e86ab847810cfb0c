"""The port that a node listens on: taken before anything else is done, and its address as peers see it."""

from __future__ import annotations

import ipaddress

from mooring.processes.addresses import address_towards
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
        host = address_towards(redis_url) if self.listens_everywhere else self.host
        return f"http://{join(host, self.port)}"
