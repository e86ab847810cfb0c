"""Mooring keeps every MCP request on the node that holds its state, across any number of nodes.

These are the names for authors of servers and for operators' programs; all else may change without notice. They are
loaded when they are used: `mooring --help` needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord
    from mooring.errors import MooringError, NoHandle, NoSession, SettingsError, StoreUnavailable
    from mooring.hosting.collector import tune_gc
    from mooring.hosting.request_state import share_request_state
    from mooring.log_filter import ShortSessionIds
    from mooring.node.current_call import session_state, state, transactional
    from mooring.node.fastmcp_state import SessionStateStore
    from mooring.node.membership.session import ClosedHandle, ClosedSession, MovingSession, RevivedSession
    from mooring.node.middleware import Mooring
    from mooring.node.minting import end, new_handle
    from mooring.node.subscription_buses import share_changes
    from mooring.settings import Settings
    from mooring.store.registry import NodeStatus, Registry

__all__ = [
    "ClosedHandle",
    "ClosedSession",
    "Counters",
    "Mooring",
    "MooringError",
    "MovingSession",
    "NoHandle",
    "NoSession",
    "NodeInfo",
    "NodeState",
    "NodeStatus",
    "Registry",
    "RevivedSession",
    "SessionRecord",
    "SessionStateStore",
    "Settings",
    "SettingsError",
    "ShortSessionIds",
    "StoreUnavailable",
    "end",
    "new_handle",
    "session_state",
    "share_changes",
    "share_request_state",
    "state",
    "transactional",
    "tune_gc",
]

_HOMES = {
    "ClosedHandle": "mooring.node.membership.session",
    "ClosedSession": "mooring.node.membership.session",
    "Counters": "mooring.core.model",
    "Mooring": "mooring.node.middleware",
    "MooringError": "mooring.errors",
    "MovingSession": "mooring.node.membership.session",
    "NoHandle": "mooring.errors",
    "NoSession": "mooring.errors",
    "NodeInfo": "mooring.core.model",
    "NodeState": "mooring.core.model",
    "NodeStatus": "mooring.store.registry",
    "Registry": "mooring.store.registry",
    "RevivedSession": "mooring.node.membership.session",
    "SessionRecord": "mooring.core.model",
    "SessionStateStore": "mooring.node.fastmcp_state",
    "Settings": "mooring.settings",
    "SettingsError": "mooring.errors",
    "ShortSessionIds": "mooring.log_filter",
    "StoreUnavailable": "mooring.errors",
    "end": "mooring.node.minting",
    "new_handle": "mooring.node.minting",
    "session_state": "mooring.node.current_call",
    "share_changes": "mooring.node.subscription_buses",
    "share_request_state": "mooring.hosting.request_state",
    "state": "mooring.node.current_call",
    "transactional": "mooring.node.current_call",
    "tune_gc": "mooring.hosting.collector",
}
"""Where each name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mooring' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
