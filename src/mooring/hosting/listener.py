"""The port that a node listens on: taken before anything else is done, and its address as peers see it."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Self

from mooring.processes.addresses import address_towards
from mooring.processes.ports import join, listen
from mooring.settings.platforms import address_variable

BACKLOG = 2048


class Listener:
    """A listening socket. Connections wait in its backlog until the app is up.

    Args:
        port: 0 for any free one.

    Raises:
        ClusterError: one cannot listen there, and what to do.
    """

    def __init__(self, host: str, port: int) -> None:
        self._has(listen(host, port, BACKLOG))

    def _has(self, listening: socket.socket) -> None:
        self.socket = listening
        self.host, self.port = listening.getsockname()[:2]

    @classmethod
    def inherited(cls, fd: int) -> Self:
        """The parent's, which has several processes listen on it."""
        listener = cls.__new__(cls)
        listener._has(socket.socket(fileno=fd))
        listener.socket.setblocking(False)
        return listener

    @property
    def listens_everywhere(self) -> bool:
        """Whether it listens on every address of this machine, so that none of them says where it is."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    def url_for_peers(self, redis_url: str | None) -> str:
        """Where peers reach this node.

        A node that listens everywhere is where its platform says that it is, in the environment; else at the address
        from which it speaks to Redis, since its peers come from where Redis is: another machine of that network, or
        this machine alone.

        Raises:
            StoreUnavailable: Redis's host cannot be found.
        """
        host = self._place(redis_url) if self.listens_everywhere else self.host
        return f"http://{join(host, self.port)}"

    def _place(self, redis_url: str | None) -> str:
        """Who listens on all addresses of IPv4 is not at one of IPv6; on all of IPv6, at both, as far as we know."""
        variable = address_variable(is_ipv6=False if ipaddress.ip_address(self.host).version == 4 else None)
        return os.environ[variable] if variable else address_towards(redis_url)
