"""Where this machine is, as its peers see it: at the address from which it speaks to Redis."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final
from urllib.parse import SplitResult, urlsplit

from mooring.errors import StoreUnavailable

_SERVERS: Final = re.compile(r"[a-z+]+://(?:[^/]*@)?([^/?@]*)", re.IGNORECASE)
"""As the store reads them: in a URL of sentinels or of a cluster, of the password only a slash has to be escaped."""


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
    found = _SERVERS.match(redis_url)
    first = found[1].partition(",")[0] if found else ""
    try:
        parts = urlsplit(f"//{first}")
        _ = parts.port
    except ValueError:  # which the store says in words of its own
        return urlsplit("")
    return parts


def address_towards(redis_url: str | None) -> str:
    """This machine's address on the way to Redis. No packet is sent: a datagram socket only looks up its route.

    Raises:
        StoreUnavailable: Redis's host cannot be found.
    """
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
