"""A word to nodes of a running cluster, left for them in Redis: they read it with their next heartbeat."""

from __future__ import annotations

from typing import Final

from mooring.core.model import TAKES_NEW_SESSIONS
from mooring.core.text import plain
from mooring.errors import ClusterError
from mooring.store import Store
from mooring.store.patience import ask_for
from mooring.store.registry import OVER, NodeStatus, Registry

KEPT_SECONDS: Final = 60.0
"""How long a word waits for a node that does not beat."""


PATIENCE_SECONDS: Final = 10.0
"""How long a store may be silent for a command that has begun something, and waits for its end."""


async def living_nodes(store: Store, patience_seconds: float = 0.0) -> list[NodeStatus]:
    """
    Args:
        patience_seconds: for how long a store that does not answer is asked again.

    Raises:
        StoreUnavailable: it did not answer in that time.
    """
    nodes = await ask_for(patience_seconds, Registry(store).nodes)
    return [node for node in nodes if node.state not in OVER]


def named(nodes: list[NodeStatus], name: str) -> NodeStatus:
    """The one of this name or id.

    Raises:
        ClusterError: there is none, or more than one.
    """
    found = [node for node in nodes if name in (node.info.id, node.info.name)]
    if not found:
        known = ", ".join(sorted(node.info.name for node in nodes)) or "none"
        raise ClusterError(f"no living node is called {plain(name)}; there are: {plain(known, 500)}")
    if len(found) > 1:
        ids = " or ".join(node.info.id for node in found)
        raise ClusterError(f"{len(found)} nodes are called {plain(name)}: say {plain(ids, 500)}")
    return found[0]


def takes_sessions(node: NodeStatus) -> bool:
    return node.info.state in TAKES_NEW_SESSIONS
