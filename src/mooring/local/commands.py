"""The commands that make up a local cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from mooring.local.programs import find_redis, find_traefik
from mooring.processes.child import Command

REDIS: Final = "redis"
TRAEFIK: Final = "traefik"

NODE_GRACE_SECONDS: Final = 5
"""How long a node's running requests may go on when the cluster stops."""

_MARGIN_SECONDS: Final = 3


def redis_command(socket: Path) -> Command:
    """A Redis on a Unix socket alone: no port that others could use. It saves nothing; nodes write again what it lost.

    Raises:
        ClusterError: it is not installed.
    """
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "dir": str(socket.parent),
        "loglevel": "warning",
    }
    arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
    return Command(REDIS, (str(find_redis()), *arguments))


def node_command(name: str, target: str, redis_url: str, secret: str, stop_seconds: float, *, debug: bool) -> Command:
    """A node, on a free port that it tells the registry. The secret is not an argument: ps shows those.

    Args:
        stop_seconds: how long it may take to stop.
    """
    serve = (sys.executable, "-m", "mooring", "serve", target, "--host", "127.0.0.1", "--port", "0")
    return Command(
        name,
        (*serve, "--stop-seconds", str(NODE_GRACE_SECONDS), *(["--debug"] if debug else [])),
        {
            "MOORING_REDIS_URL": redis_url,
            "MOORING_SECRET": secret,
            "MOORING_NODE_NAME": name,
            "PYTHONUNBUFFERED": "1",
        },
        stop_seconds=stop_seconds + _MARGIN_SECONDS,
        # They were read here: a setting that is there and in a file is refused.
        without=frozenset({"MOORING_REDIS_URL_FILE", "MOORING_SECRET_FILE"}),
    )


def traefik_command(static_file: Path) -> Command:
    """Traefik with this configuration.

    Raises:
        ClusterError: it is not installed.
    """
    return Command(TRAEFIK, (str(find_traefik()), f"--configfile={static_file}"), stop_seconds=_MARGIN_SECONDS)
