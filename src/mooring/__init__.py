"""Mooring keeps every MCP request on the node that holds its state, across any number of nodes."""

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
from mooring.node.middleware import Mooring
from mooring.node.sessions import ClosedSession
from mooring.node.settings import Settings
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
