"""Topologies for tests."""

from __future__ import annotations

from mooring.core.model import NodeInfo, NodeState
from mooring.ingress.topology import Backend, Topology

SHARDS = {"node-1": ("aaaaa", "bbbbb"), "node-2": ("ccccc",), "node-3": ("ddddd", "22222")}


def backend(
    name: str = "node-1", url: str = "http://127.0.0.1:9101", shards: tuple[str, ...] = (), ready: bool = True
) -> Backend:
    return Backend(name, url, shards, ready)


def three_nodes(urls: dict[str, str] | None = None) -> Topology:
    """node-1, node-2 and node-3, all ready, with the shards of `SHARDS`."""
    at = urls or {name: f"http://127.0.0.1:{9100 + number}" for number, name in enumerate(SHARDS, start=1)}
    return Topology(tuple(backend(name, at[name], SHARDS[name]) for name in SHARDS))


def replacing(*, is_https: bool = True) -> Topology:
    """Nodes of which one replaces another, at addresses of other kinds, with paths other than the usual ones."""
    return Topology(
        (
            backend("node-1", f"http{'s' if is_https else ''}://node-1.nodes.svc", ("aaaaa",)),
            backend("node-1_x7k2p", "http://[::1]:8000", ("bbbbb", "ccccc"), ready=False),
            backend("node-2", "http://10.0.0.2:8000"),
        ),
        endpoints=("/api/mcp",),
        health_path="/-/alive",
        ready_path="/-/ready",
    )


def node(
    name: str,
    letters: str,
    *,
    state: NodeState = NodeState.READY,
    started: float = 0.0,
    url: str | None = None,
    client_url: str | None = None,
) -> NodeInfo:
    return NodeInfo(
        id=f"{name}-{letters}",
        name=name,
        url=url or f"http://{letters}:8000",
        pid=1,
        state=state,
        sessions=0,
        capacity=10,
        version="0",
        secret_id="s",
        started=started,
        client_url=client_url,
    )
