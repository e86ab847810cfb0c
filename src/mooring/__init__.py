"""Mooring keeps every MCP request on the node that holds its state, across any number of nodes.

These are the names for authors of servers and for operators' programs; all else may change without notice. They are
loaded when they are used: `mooring --help` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord
    from mooring.errors import MooringError, SettingsError, StoreUnavailable
    from mooring.hosting.collector import tune_gc
    from mooring.hosting.request_state import share_request_state
    from mooring.log_filter import ShortSessionIds
    from mooring.node.membership.session import ClosedSession
    from mooring.node.middleware import Mooring
    from mooring.settings import Settings
    from mooring.store.registry import NodeStatus, Registry

__all__ = [
    "ClosedSession",
    "Counters",
    "Mooring",
    "MooringError",
    "NodeInfo",
    "NodeState",
    "NodeStatus",
    "Registry",
    "SessionRecord",
    "Settings",
    "SettingsError",
    "ShortSessionIds",
    "StoreUnavailable",
    "share_request_state",
    "tune_gc",
]

_HOMES = {
    "ClosedSession": "mooring.node.membership.session",
    "Counters": "mooring.core.model",
    "Mooring": "mooring.node.middleware",
    "MooringError": "mooring.errors",
    "NodeInfo": "mooring.core.model",
    "NodeState": "mooring.core.model",
    "NodeStatus": "mooring.store.registry",
    "Registry": "mooring.store.registry",
    "SessionRecord": "mooring.core.model",
    "Settings": "mooring.settings",
    "SettingsError": "mooring.errors",
    "ShortSessionIds": "mooring.log_filter",
    "StoreUnavailable": "mooring.errors",
    "share_request_state": "mooring.hosting.request_state",
    "tune_gc": "mooring.hosting.collector",
}
"""Where each name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mooring' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
