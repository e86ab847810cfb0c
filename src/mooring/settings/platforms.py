"""What platforms tell a container of itself, in the environment: its name, and the address at which others reach it.

It counts where nobody has set the setting. Both were read in the platforms' documentation.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import Final

NAME_VARIABLES: Final = ("CONTAINER_APP_REPLICA_NAME", "POD_NAME", "FLY_MACHINE_ID", "K_REVISION")
"""Azure Container Apps; Kubernetes, where the manifest asks for it; Fly.io; Cloud Run, whose instances share one."""

ADDRESS_VARIABLES: Final = ("POD_IP", "FLY_PRIVATE_IP")
"""Kubernetes, where the manifest asks for it; Fly.io. Elsewhere a machine's address is that from which it speaks to
Redis; on Azure Container Apps and Cloud Run there is none."""

_LONGEST_NAME: Final = 63


def default_node_name() -> str:
    """What the platform calls this process, or else the host's name, in the form that a node's name has.

    Of a long name from a platform the end is kept, which is what tells replicas apart; of a host's the beginning.
    """
    variable = name_variable()
    if variable is None:
        return _formed(socket.gethostname())[:_LONGEST_NAME].strip("-") or "node"
    return _formed(os.environ[variable])[-_LONGEST_NAME:].strip("-") or "node"


def _formed(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())


def name_variable() -> str | None:
    """The variable that a node's name comes from by default."""
    return next((variable for variable in NAME_VARIABLES if os.environ.get(variable)), None)


def address_variable(*, is_ipv6: bool | None = None) -> str | None:
    """The variable that says where this machine is.

    Args:
        is_ipv6: of which kind the address has to be, if it has to be of one.
    """
    for variable in ADDRESS_VARIABLES:
        try:
            address = ipaddress.ip_address(os.environ.get(variable, ""))
        except ValueError:
            continue
        if is_ipv6 in (None, address.version == 6):
            return variable
    return None
