"""Who is alive and who owns which shard, as one process sees it.

The view is built from the store's snapshots under two rules:

1. Time is the store's. The store says whether a lease is over, in the same step in which it is read, and nobody
   compares it with a local clock; so a process whose clock is off, or that has not heard from the store for a while,
   judges no one.
2. Absence is not evidence. A store that was emptied, restarted from an old copy, or away, has lost what the
   nodes know well; they write it again within a heartbeat. So for one lease's time after such a break (the grace)
   a node that was alive in the view before stays alive, and a shard that is missing keeps its owner. A node is dead
   when its lease was seen to end, or when it said goodbye.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mooring.core.model import TAKES_NEW_SESSIONS, Lease, NodeInfo, NodeState, ShardOwner, Snapshot


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node as seen here: what it said last, and whether its lease was alive then.

    Attributes:
        has_ended: it said goodbye, or was seen to end.
        renewed_ms: when its lease was last renewed, by the store's clock, as of when its end or return was seen; of one
            that has ended, when it did.
    """

    info: NodeInfo
    alive: bool
    has_ended: bool = field(default=False, compare=False)
    renewed_ms: int = field(default=0, compare=False)

    @property
    def takes_new_sessions(self) -> bool:
        return self.alive and self.info.state in TAKES_NEW_SESSIONS and self.info.sessions < self.info.capacity


@dataclass(frozen=True, slots=True)
class ClusterView:
    """All nodes and shards as seen here."""

    version: int = -1
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    shards: Mapping[str, ShardOwner] = field(default_factory=dict)

    def is_alive(self, node_id: str) -> bool:
        """Whether the node's lease is alive. Whether anybody reaches the node is no part of it."""
        node = self.nodes.get(node_id)
        return node is not None and node.alive

    def owner_of(self, shard: str) -> ShardOwner | None:
        return self.shards.get(shard)

    def alive(self) -> list[NodeInfo]:
        """The nodes that are alive, by name."""
        infos = [node.info for node_id, node in self.nodes.items() if self.is_alive(node_id)]
        return sorted(infos, key=lambda info: (info.name, info.started))

    def shards_of(self, node_id: str) -> list[str]:
        """The shards that a node owns, in order."""
        return sorted(shard for shard, owner in self.shards.items() if owner.node_id == node_id)

    def shards_by_node(self) -> dict[str, list[str]]:
        """The same of all nodes that own any, at once: there may be thousands of nodes."""
        found: dict[str, list[str]] = {}
        for shard, owner in sorted(self.shards.items()):
            found.setdefault(owner.node_id, []).append(shard)
        return found

    def takers(self) -> list[NodeInfo]:
        """The nodes that take new sessions, the least loaded first."""
        takers = (node.info for node in self.nodes.values() if node.takes_new_sessions)
        return sorted(takers, key=lambda info: (info.sessions / info.capacity, info.id))

    def orphans_for(self, node_id: str) -> list[tuple[str, ShardOwner]]:
        """The shards of dead nodes that this node is to take over: all who see the same agree on who takes which.

        They are dealt out to those that take new sessions, the least loaded first. A dead node that had no sessions
        leaves nothing to anybody.
        """
        heirs = self.takers()
        orphans = sorted((shard, owner) for shard, owner in self.shards.items() if self._has_left_it(owner.node_id))
        return (
            [orphan for turn, orphan in enumerate(orphans) if heirs[turn % len(heirs)].id == node_id] if heirs else []
        )

    def _has_left_it(self, node_id: str) -> bool:
        owner = self.nodes.get(node_id)
        return owner is not None and not owner.alive and owner.info.sessions > 0

    def shares_its_url(self, node_id: str) -> bool:
        """Whether another process answers, too, where this node's clients reach it.

        An older node at the same URL may have died without a goodbye, and left its place to this one; so it counts only
        if it says that it shares. A younger one cannot have been there before: it says so then, and both do.
        """
        me = self.nodes[node_id].info if node_id in self.nodes else None
        return me is not None and any(
            other.client_url is not None or (other.started, other.id) > (me.started, me.id)
            for other in self.alive()
            if other.id != node_id and other.url_for_clients == me.url_for_clients != ""
        )

    def without(self, node_id: str) -> ClusterView:
        """The view of someone who saw this node's process end, and so knows more than its lease does."""
        node = self.nodes.get(node_id)
        if node is None:
            return self
        return replace(self, nodes={**self.nodes, node_id: replace(node, alive=False)})

    def learned(self, shard: str, owner: ShardOwner) -> ClusterView:
        """The view with what a peer says of a shard, where that is newer than what we know."""
        known = self.shards.get(shard)
        if known is not None and known.epoch >= owner.epoch:
            return self
        return replace(self, shards={**self.shards, shard: owner})


def advance(view: ClusterView, snapshot: Snapshot, *, in_grace: bool) -> ClusterView:
    """The view after `snapshot`. `in_grace`: the store was away or lost something less than a lease's time ago."""
    nodes = {node_id: _judge(lease, view, in_grace) for node_id, lease in snapshot.leases.items()}
    shards = snapshot.shards
    if in_grace:
        nodes = {**{node_id: node for node_id, node in view.nodes.items() if node.alive}, **nodes}
        shards = _keep_higher_epochs(view.shards, shards)
    return ClusterView(snapshot.version, nodes, shards)


def _judge(lease: Lease, view: ClusterView, in_grace: bool) -> NodeView:
    end_is_known = lease.node.state is NodeState.GONE or lease.until_ms == 0
    alive = not end_is_known and not lease.is_over
    if in_grace and not alive and not end_is_known:
        before = view.nodes.get(lease.node.id)
        alive = before is not None and before.alive
    return NodeView(lease.node, alive, end_is_known, lease.renewed_ms)


def _keep_higher_epochs(before: Mapping[str, ShardOwner], after: Mapping[str, ShardOwner]) -> Mapping[str, ShardOwner]:
    kept = dict(before)
    for shard, owner in after.items():
        if shard not in kept or owner.epoch >= kept[shard].epoch:
            kept[shard] = owner
    return kept
