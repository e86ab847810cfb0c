"""TCP ports of this machine."""

from __future__ import annotations

import errno
import socket

from mooring.errors import ClusterError


def check_free(host: str, port: int) -> None:
    """Make sure that one can listen there.

    Raises:
        ClusterError: the port is in use, or the address is not this machine's; what to do.
    """
    try:
        _listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ClusterError(f"port {port} on {host} is in use: choose another one with --port") from error
        if error.errno == errno.EACCES:
            raise ClusterError(
                f"port {port} needs more rights than we have: choose one from 1024 with --port"
            ) from error
        raise ClusterError(f"cannot listen on {join(host, port)}: {error.strerror or error}") from error


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on. Another process may take it before you do: the loser's start says so."""
    return _listen(host, 0)


def join(host: str, port: int) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(host: str, port: int) -> int:
    """Bind and listen as a server does (an address in TIME_WAIT is free), then let go; answers the port."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
        return int(listener.getsockname()[1])
