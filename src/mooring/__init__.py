"""Mooring keeps every MCP request on the node that holds its state, across any number of nodes.

The public names are loaded when they are used: `mooring --help` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord
    from mooring.errors import (
        ClusterError,
        IllegalMove,
        MooringError,
        PeerError,
        PeerGone,
        PeerSilent,
        SettingsError,
        SignatureError,
        StoreUnavailable,
        TargetError,
    )
    from mooring.node.membership.sessions import ClosedSession
    from mooring.node.middleware import Mooring
    from mooring.settings import Settings
    from mooring.store.registry import NodeStatus, Registry

__all__ = [
    "ClosedSession",
    "ClusterError",
    "Counters",
    "IllegalMove",
    "Mooring",
    "MooringError",
    "NodeInfo",
    "NodeState",
    "NodeStatus",
    "PeerError",
    "PeerGone",
    "PeerSilent",
    "Registry",
    "SessionRecord",
    "Settings",
    "SettingsError",
    "SignatureError",
    "StoreUnavailable",
    "TargetError",
]

_HOMES = {
    "ClosedSession": "mooring.node.membership.sessions",
    "Counters": "mooring.core.model",
    "Mooring": "mooring.node.middleware",
    "NodeInfo": "mooring.core.model",
    "NodeState": "mooring.core.model",
    "NodeStatus": "mooring.store.registry",
    "Registry": "mooring.store.registry",
    "SessionRecord": "mooring.core.model",
    "Settings": "mooring.settings",
}
"""Where a name is defined; the others are errors."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'mooring' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "mooring.errors")), name)
