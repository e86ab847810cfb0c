"""The port that a node listens on: taken before anything else is done, and its address as peers see it."""

from __future__ import annotations

import ipaddress
import socket
from typing import Self

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

        A node that listens everywhere is at the address from which it speaks to Redis, since its peers come from where
        Redis is: another machine of that network, or this machine alone.

        Raises:
            StoreUnavailable: Redis's host cannot be found.
        """
        host = address_towards(redis_url) if self.listens_everywhere else self.host
        return f"http://{join(host, self.port)}"
