"""TCP ports of this machine, and why one cannot listen on them."""

from __future__ import annotations

import errno
import ipaddress
import socket

from mooring.errors import ClusterError


def listen(host: str, port: int, backlog: int = 1) -> socket.socket:
    """A socket that listens there, for IPv4 as well where the address is IPv6's "any".

    An address in TIME_WAIT is free. The socket says that it is TCP: without that, asyncio would leave Nagle's algorithm
    on, which costs 40 ms an answer.

    Args:
        port: 0 for any free one.

    Raises:
        ClusterError: one cannot listen there, and what to do.
    """
    try:
        return _listen(host, port, backlog)
    except OSError as error:
        raise ClusterError(_explain(host, port, error)) from error


def check_free(host: str, port: int) -> None:
    """Make sure that one can listen there.

    Raises:
        ClusterError: one cannot, and what to do.
    """
    listen(host, port).close()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on. Another process may take it before you do: the loser's start says so."""
    with listen(host, 0) as listener:
        return int(listener.getsockname()[1])


def join(host: str, port: int) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def from_here(host: str) -> str:
    """Where a listener on that address is reached from this machine: of all addresses, the one that is always there."""
    try:
        address = ipaddress.ip_address(host or "0.0.0.0")
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _listen(host: str, port: int, backlog: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _explain(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: choose another one with --port, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than we have: choose one from 1024 with --port"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine: choose one with --host, or 0.0.0.0 for all"
    return f"cannot listen on {join(host, port)}: {error.strerror or error}"
