"""What a node may believe of itself, through pauses and breaks of the store.

A machine without I/O or a clock. `now` is seconds by any clock that does not stop while the process does.

`Membership` has an observer (`mooring.core.observer`), is told what the store answered, and tells what to do:

    the store said                   the node                          and then
    -------------------------------  --------------------------------  ---------------------------------------
    the lease is renewed             serves until it ends              gives up shards that another node owns
    nothing                          degraded; asks its peers, and     writes everything anew once it answers
                                     goes on or not, as they say
    that it does not know the node,  in grace; serves                  the same, at once
    or less of its shards than it
    that another node claimed a      gives the shard up, unless that   its sessions are fenced
    shard of it                      claim is of a lower epoch

    A node whose lease is over by its own clock (`has_lapsed`) serves nothing: it was paused, or nobody renewed it. It
    goes on once the store has renewed the lease, or its peers have said that the store is away for them as well
    (`mooring.core.standing`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from mooring.core.model import NO_OWNER, TAKES_NEW_SESSIONS, NodeState, ShardOwner, Snapshot, move
from mooring.core.observer import Observer
from mooring.core.ownership import ClusterView
from mooring.core.standing import PEERS_ASKED, PeerWord, Standing
from mooring.errors import StoreUnavailable


class Membership:
    """This node's state in the cluster, and how it sees the other nodes.

    Attributes:
        state: see the table in `mooring.core.model`; changed by `go`, `missed` and `wrote_anew`.
        why_degraded: what the store's last failure said; empty while it answers. And the same for anyone to read.
        standing: what the peers' last words make of a node that cannot renew its lease; None while it can.
        renewed_ms: when the lease was last renewed, by the store's clock: what the store must still say of it.
        has_left: the node's end is on record: it said goodbye, or was declared dead.
        must_write_anew: the store was away, or lost something of ours, since everything was last written.
        has_lost: it lost something, as was seen since then.
        moving: shards of this node that it is giving away: until that is done another owner is no surprise.
        adopting: those for which the store is asked at this moment, or (False) did not say whether they are ours by
            now: where they are, nobody gave them.
        doubtful: those that may be a peer's, since the store did not say whether it gave them: before they are served
            it is asked. Until the next renewal, which tells.
        known: what the store said at the last renewal, for it to say what changed since. No later look counts: only of
            a renewal can the store tell that it has not gone back to a time before it. None where it has to say
            everything.

    Args:
        lease_seconds: how long the node's lease lasts from each renewal.
    """

    def __init__(self, node_id: str, lease_seconds: float) -> None:
        self.state = NodeState.STARTING
        self.why_degraded = self.why_for_anyone = ""
        self.standing: Standing | None = None
        self.renewed_ms = 0
        self.must_write_anew = False
        self.has_lost = False
        self.known: Snapshot | None = None
        self.moving: set[str] = set()
        self.doubtful: set[str] = set()
        self.adopting: dict[str, bool] = {}
        self._node_id = node_id
        self._lease_seconds = lease_seconds
        self._observer = Observer(lease_seconds)
        self._shards: dict[str, int] = {}
        # Of each shard that was ours, the last epoch that we know of: only at a later one can it be a gift.
        self._passed: dict[str, int] = {}
        # Those that a peer gave to this node, since `take_given` was last asked; and who that was.
        self._given: dict[str, str] = {}
        # Those that are ours by such a gift, and since which epoch.
        self._gifts: dict[str, int] = {}
        self._is_declared_dead = False
        # A peer that could renew said that our lease is over; until it is renewed that stands.
        self._was_told = False
        # When this node joined, by the store's clock.
        self._joined_ms = 0
        # By the local clock; beyond it the lease may have ended without our noticing.
        self._valid_until = -math.inf
        # By how many seconds the store's clock was ahead of the local one at the last renewal, of ours or of a peer
        # that could renew when we could not.
        self._store_ahead: float | None = None

    @property
    def view(self) -> ClusterView:
        return self._observer.view

    @property
    def shards(self) -> Mapping[str, int]:
        """This node's shards, with the epochs at which it holds them."""
        return MappingProxyType(self._shards)

    def owner_of(self, shard: str) -> ShardOwner | None:
        """Whose it is, as far as is known here. What this node has just taken, no look at the store has shown yet."""
        epoch = self._shards.get(shard)
        return self.view.owner_of(shard) if epoch is None else ShardOwner(self._node_id, epoch)

    @property
    def has_left(self) -> bool:
        return self._is_declared_dead or self.state is NodeState.GONE

    @property
    def joined(self) -> float | None:
        """When this node joined, seconds since the epoch by the store's clock; None before that."""
        return self._joined_ms / 1000 if self._joined_ms else None

    def has_lapsed(self, now: float) -> bool:
        """Whether the lease may be over: the process was stopped, the machine slept, the store did not answer."""
        return now > self._valid_until

    def store_time(self, now: float) -> float | None:
        """What the store's clock says, seconds since the epoch: that of all nodes. None before the first renewal."""
        return None if self._store_ahead is None else now + self._store_ahead

    def is_in_grace(self, now: float) -> bool:
        """Whether the store may not have everything again yet."""
        return self._observer.is_in_grace(now)

    def store_is_filling(self, now: float) -> bool:
        """Whether the store may have been emptied just before this node joined, and may not have everything again."""
        return self._observer.is_filling(now)

    def go(self, state: NodeState) -> None:
        """
        Raises:
            IllegalMove: a node may not go there from where it is.
        """
        self.state = move(self.state, state)

    def registered(self, renewed_ms: int) -> None:
        """The store has the node with a fresh lease, whatever it knew before."""
        self.renewed_ms = renewed_ms
        self._joined_ms = self._joined_ms or renewed_ms
        self.known = None

    def renewed(self, snapshot: Snapshot, asked: float, now: float) -> list[str]:
        """The lease was renewed; returns the shards that another node owns by now.

        Args:
            asked: when the renewal was sent: the lease began no earlier than that, so it ends no earlier than we think.
        """
        self._observe(snapshot, now)
        self.known = snapshot
        self._store_ahead = snapshot.now_ms / 1000 - now
        self.renewed_ms = snapshot.leases[self._node_id].renewed_ms
        self.holds_until_renewed(asked)
        lost = [
            shard for shard, epoch in self._shards.items() if shard not in self.moving and self._has_lost(shard, epoch)
        ]
        for shard in lost:
            self._lose(shard, self.view.owner_of(shard))
        self.doubtful &= self.moving
        return lost

    def holds_until_renewed(self, asked: float) -> None:
        """The lease was renewed after `asked`, and all the shards that are ours by now are so in the store."""
        self._valid_until = max(self._valid_until, asked + self._lease_seconds)
        self.standing, self._was_told = None, False

    def missed(self, error: StoreUnavailable) -> bool:
        """The store did not answer; returns whether that made the node degraded.

        Its sessions go on until its lease ends, and longer only where its peers say so (`peers_said`).
        """
        self._observer.missed()
        self.why_degraded, self.why_for_anyone = str(error), error.for_anyone
        self.must_write_anew = True
        if self.state is not NodeState.READY:
            return False
        self.go(NodeState.DEGRADED)
        return True

    def peers_said(
        self, standing: Standing, words: Iterable[PeerWord], asked: float, *, goes_on_alone: bool
    ) -> list[str]:
        """The lease could not be renewed, and the peers were asked; returns the shards that others own by now.

        Args:
            standing: what their words make of this node.
            asked: when they were asked: whoever could not renew since then has taken nothing, and judges nobody for a
                lease's time after it can again (`Observer`).
            goes_on_alone: the operator's choice for a node that is isolated.
        """
        self.standing = standing = Standing.CUT_OFF if self._was_told else standing
        if standing is Standing.AWAY or (standing is Standing.ISOLATED and goes_on_alone):
            self._valid_until = max(self._valid_until, asked + self._lease_seconds)
        lost = []
        for word in words:
            if word.can_renew and word.time_ms is not None:  # what is passed on to it is dated so
                self._store_ahead = word.time_ms / 1000 - asked
            for shard, owner in word.owners.items():
                if owner.node_id != self._node_id and owner.epoch > self._shards.get(shard, owner.epoch):
                    self._lose(shard, owner)
                    self._observer.learned(shard, owner)
                    lost.append(shard)
        return lost

    def was_told_that_it_is_over(self) -> None:
        """A peer that could renew says that our lease, which we cannot renew, is over. It may take our shards now.

        What peers said of a store that is away for all binds no one who joined after they could ask it last.
        """
        self._was_told, self.standing = True, Standing.CUT_OFF
        self._valid_until = -math.inf

    def may_not_be_asked_by(self, node_id: str) -> bool:
        """Whether a node whose lease is over, as far as anybody knows, may not ask us whether we can renew: then it
        goes on where nobody that it asks can.

        It need not have heard of us if it renewed its lease for the last time less than a lease's time after we joined:
        nobody knows whether the answers to those renewals arrived. And of many peers it asks some, among them those
        that have ended since that: they answer nothing.
        """
        node, nodes = self.view.nodes.get(node_id), self.view.nodes.values()
        if node is None or node.has_ended:
            return False
        lease_ms = self._lease_seconds * 1000
        known_to_it = sum(not one.has_ended or one.renewed_ms > node.renewed_ms - lease_ms for one in nodes)
        return node.renewed_ms < self._joined_ms + lease_ms or known_to_it > 1 + PEERS_ASKED

    def declared_dead(self) -> list[str]:
        """The node's end is on record, wrongly; answers the shards that it held: they may be another node's by now.

        It goes on for what arrives for others, holds nothing and takes nothing new: so no lease binds it any more.
        """
        self._valid_until = math.inf
        self._is_declared_dead = True
        self.standing = None
        if self.state in TAKES_NEW_SESSIONS:
            self.go(NodeState.DRAINING)
        lost, self._shards = list(self._shards), {}
        return lost

    def forgotten(self) -> None:
        """The store does not know this node, or not as it was at its last renewal: it was emptied, or went back."""
        self.must_write_anew = self.has_lost = True

    def begin_writing_anew(self, now: float) -> None:
        """Everything is written again from now on; our peers do the same, each in its time."""
        self._observer.begin_grace(now)

    def wrote_anew(self) -> bool:
        """The store has everything of ours again; returns whether that ended a degraded state."""
        self.must_write_anew = self.has_lost = False
        self.why_degraded = self.why_for_anyone = ""
        if self.state is not NodeState.DEGRADED:
            return False
        self.go(NodeState.READY)
        return True

    def looked(self, snapshot: Snapshot, now: float) -> None:
        """The store was asked between two renewals. An older renewal of ours than the last one, or none, is a loss."""
        lease = snapshot.leases.get(self._node_id)
        if self.must_write_anew or lease is None or lease.renewed_ms < self.renewed_ms:
            self._observer.begin_grace(now)
        self._observe(snapshot, now)

    def learned(self, shard: str, owner: ShardOwner) -> None:
        """A peer says who owns a shard. Of our own shards we believe the store alone."""
        if shard not in self._shards:
            self._observer.learned(shard, owner)

    def outranks(self, shard: str, owner: ShardOwner) -> bool:
        """Whether a shard of ours has an owner in the store that held it before us: an old copy came back."""
        return owner.node_id != self._node_id and owner.epoch < self._shards[shard]

    def claimed(self, shard: str, owner: ShardOwner, *, is_raised: bool = False) -> bool:
        """A claim was answered with this owner; returns whether the shard is ours.

        Args:
            is_raised: it was ours before, and this is its next epoch: a shard that was given stays a gift.
        """
        if owner.node_id != self._node_id:
            self._lose(shard, owner)
            return False
        if is_raised and self.was_given(shard):
            self._gifts[shard] = owner.epoch
        self._shards[shard] = owner.epoch
        return True

    def with_later_claims(self, snapshot: Snapshot, shards_then: Mapping[str, int]) -> Snapshot:
        """What the store said, with the shards that became ours while it was asked: it may have answered before that.

        Args:
            shards_then: those that were ours when it was asked.
        """
        later = {
            shard: ShardOwner(self._node_id, epoch)
            for shard, epoch in self._shards.items()
            if shards_then.get(shard) != epoch and epoch > snapshot.shards.get(shard, NO_OWNER).epoch
        }
        return replace(snapshot, shards={**snapshot.shards, **later}) if later else snapshot

    def let_go(self, shard: str) -> None:
        """The shard is not ours any more, and nobody's yet."""
        self._lose(shard, None)

    def gave(self, shard: str, owner: ShardOwner) -> None:
        """The shard is a peer's now."""
        self._lose(shard, owner)
        self._observer.learned(shard, owner)

    def take_given(self) -> dict[str, str]:
        """The shards that peers gave to this node since this was last asked, and who had each before."""
        given, self._given = self._given, {}
        return given

    def was_given(self, shard: str) -> bool:
        """Whether a peer that was well gave us the shard, so that its clients were told before it moved."""
        return shard in self._gifts and self._gifts[shard] == self._shards.get(shard)

    def _observe(self, snapshot: Snapshot, now: float) -> None:
        if self._is_behind(snapshot.shards):
            self.must_write_anew = self.has_lost = True
            self._observer.begin_grace(now)
        before = self.view
        self._observer.see(snapshot, now)
        if self.view.version != before.version and not self.has_left:
            self._find_given(before.shards)
        self.adopting = {shard: is_asked for shard, is_asked in self.adopting.items() if is_asked}

    def _find_given(self, before: Mapping[str, ShardOwner]) -> None:
        """A shard that the store says is ours, at an epoch at which it never was: a peer gave it to us."""
        for shard, owner in self.view.shards.items():
            if (
                owner.node_id == self._node_id
                and owner.epoch > self._passed.get(shard, 0)
                and shard not in self._shards
            ):
                self._shards[shard] = owner.epoch
                if shard not in self.adopting:
                    self._gifts[shard] = owner.epoch
                giver = before.get(shard, owner).node_id
                self._given[shard] = "" if giver == self._node_id else giver

    def _lose(self, shard: str, owner: ShardOwner | None) -> None:
        epochs = self._passed.get(shard, 0), self._shards.pop(shard, 0), owner.epoch if owner else 0
        self._passed[shard] = max(epochs)
        self._gifts.pop(shard, None)

    def _is_behind(self, shards: Mapping[str, ShardOwner]) -> bool:
        """Whether the store lacks a shard of ours, or has it from before it was ours: it was emptied or set back."""
        return any(shard not in shards or shards[shard].epoch < epoch for shard, epoch in self._shards.items())

    def _has_lost(self, shard: str, epoch: int) -> bool:
        """Whether another node owns it since. One that the store does not name is ours: absence is no evidence; and an
        owner of a lower epoch had it before us."""
        owner = self.view.owner_of(shard)
        return owner is not None and owner.node_id != self._node_id and owner.epoch >= epoch
