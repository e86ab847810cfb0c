"""Nodes, views and snapshots for the tests of what is decided from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from zlib import crc32

from hypothesis import strategies as st

from mooring.core.model import Lease, NodeInfo, NodeState, ShardOwner, Snapshot
from mooring.core.ownership import ClusterView, NodeView

_T = TypeVar("_T")

NODE_IDS = ("node-1-aaaaa", "node-2-aaaaa", "node-3-aaaaa")
ME, *PEERS = NODE_IDS
SHARDS = ("aaaaa", "bbbbb", "ccccc")


def nowhere(node_id: str) -> str:
    """An address of its own where nothing listens, as a machine says at once: a name may be looked up for seconds."""
    number = crc32(node_id.encode())
    return f"http://127.{number >> 16 & 255}.{number >> 8 & 255}.{number % 250 + 2}:1"


def a_node(node_id: str, state: NodeState = NodeState.READY, sessions: int = 0, capacity: int = 100) -> NodeInfo:
    return NodeInfo(
        id=node_id,
        name=node_id[:-6],
        url=nowhere(node_id),
        pid=1,
        state=state,
        sessions=sessions,
        capacity=capacity,
        version="0.1.0",
        secret_id="0123abcd",
        started=0.0,
    )


def a_view(*nodes: NodeInfo, owners: Mapping[str, str] | None = None, dead: tuple[str, ...] = ()) -> ClusterView:
    """A view of these nodes, alive unless they are in `dead`. `owners`: shard -> node id."""
    return ClusterView(
        version=1,
        nodes={node.id: NodeView(node, node.id not in dead) for node in nodes},
        shards={shard: ShardOwner(owner, 1) for shard, owner in (owners or {}).items()},
    )


# Few draws for each example, from all variants that can make a difference: whole clusters are drawn many times.
_LOADS = ((0, 4), (1, 4), (3, 4), (4, 4), (5, 4), (0, 0), (1, 2))
# When a lease ends and was renewed, and whether it is over. The times may be old, but for the 0 of an end on record.
_TIMES = ((20, 10, False), (20, 10, True), (0, 10, True), (10, 5, False))

times_ms = st.sampled_from(range(21))
node_ids = st.sampled_from(NODE_IDS)


def _infos(node_id: str) -> list[NodeInfo]:
    return [a_node(node_id, state, *load) for state in NodeState for load in _LOADS]


def _some_of(choices: Mapping[str, Sequence[_T]]) -> st.SearchStrategy[dict[str, _T]]:
    """Any of the keys, each with one of its choices."""
    drawn = st.tuples(*(st.none() | st.sampled_from(choice) for choice in choices.values()))
    return drawn.map(lambda values: {key: value for key, value in zip(choices, values, strict=True) if value})


_OWNERS = [ShardOwner(node_id, epoch) for epoch in (1, 2, 3) for node_id in NODE_IDS]
_LEASES = {node_id: [Lease(info, *times) for info in _infos(node_id) for times in _TIMES] for node_id in NODE_IDS}
_NODE_VIEWS = {
    node_id: [NodeView(info, alive) for alive in (True, False) for info in _infos(node_id)] for node_id in NODE_IDS
}

shard_owners = _some_of(dict.fromkeys(SHARDS, _OWNERS))
snapshots = st.builds(Snapshot, times_ms, st.sampled_from(range(6)), _some_of(_LEASES), shard_owners)
views = st.builds(
    ClusterView,
    st.sampled_from(range(6)),
    _some_of(_NODE_VIEWS),
    shard_owners,
)
