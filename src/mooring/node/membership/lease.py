"""The node's lease, kept alive by a heartbeat; and everything that follows from what the store says back:

    the store answers              renew the lease, take over its view, write what sessions have to tell
    it does not                    degraded: sessions that live here go on, new ones are recorded later
    it is back, or lost this node  register anew, claim our shards at their epochs, write every record anew
    a shard has another owner      fenced: its sessions are dropped at once

After the store was away or lost something, the view is in grace for a lease's time (`mooring.core.ownership`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mooring.core.model import NodeInfo, NodeState, ShardOwner, Snapshot, move
from mooring.core.ownership import ClusterView, advance
from mooring.errors import StoreUnavailable
from mooring.node.membership.sessions import LocalSessions
from mooring.settings import Settings
from mooring.store.base import Store

logger = logging.getLogger("mooring.lease")

_PRUNE_EVERY_SECONDS = 60.0


@dataclass(slots=True)
class Membership:
    """What this node is in the cluster, and how it sees the others.

    Attributes:
        state: see the table in `mooring.core.model`.
        shards: ours, with the epochs that we hold them at.
        valid_until: by the local clock; beyond it the lease may have ended without our noticing (the process was
            stopped, the machine slept), and nothing is served before the store was asked.
    """

    state: NodeState = NodeState.STARTING
    shards: dict[str, int] = field(default_factory=dict)
    view: ClusterView = field(default_factory=ClusterView)
    valid_until: float = 0.0
    why_degraded: str = ""


class LeaseKeeper:
    """Keeps one node a member of its cluster.

    Args:
        describe: what the node says of itself now.
        now: seconds, by a clock that does not stop while the process does.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        sessions: LocalSessions,
        describe: Callable[[], NodeInfo],
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.membership = Membership()
        self._store = store
        self._settings = settings
        self._sessions = sessions
        self._describe = describe
        self._now = now
        self._sleep = sleep
        self._beating = asyncio.Lock()
        self._regaining = asyncio.Lock()
        self._away = False
        self._renewed_ms = 0
        self._known_version = -1
        self._grace_until = -1.0
        self._asked = now()
        self._prune_at = 0.0

    @property
    def has_lapsed(self) -> bool:
        """Whether the lease may have ended without our noticing."""
        return self._now() > self.membership.valid_until

    @property
    def is_in_grace(self) -> bool:
        """Whether the store may not have everything again yet: what is missing there may exist all the same."""
        return self._now() < self._grace_until

    async def join(self, fresh_shards: Callable[[], str]) -> None:
        """Register and claim this node's first shards.

        Raises:
            StoreUnavailable: a node does not start without its store.
        """
        node = self._describe()
        self._renewed_ms = await self._store.register(node, self._settings.lease_seconds)
        while len(self.membership.shards) < self._settings.shards:
            shard = fresh_shards()
            owner = await self._store.claim(shard, ShardOwner(node.id, 1), expected_epoch=0)
            if owner.node_id == node.id:
                self.membership.shards[shard] = owner.epoch
        self._go(NodeState.READY)
        await self.beat()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._sleep(self._settings.heartbeat_seconds)
            try:
                await self.beat()
            except Exception:
                logger.exception("the heartbeat failed; the next one is due in its time")

    async def leave(self) -> None:
        """Say goodbye, so that peers need not wait for the lease to end."""
        self._go(NodeState.GONE)
        try:
            await self._sessions.flush()
            await self._store.leave(self._describe())
        except StoreUnavailable as error:
            logger.warning("left without a goodbye, the lease ends by itself: %s", error)

    async def beat(self) -> None:
        """Renew the lease once, and act on what the store says."""
        async with self._beating:
            try:
                snapshot = await self._renew()
            except StoreUnavailable as error:
                self._store_is_away(error)
                return
            self._take_over(snapshot)
            self._give_up_lost_shards()
            try:
                await self._sessions.flush()
                await self._prune()
            except StoreUnavailable as error:
                self._store_is_away(error)

    async def regain(self) -> None:
        """Ask the store before the next request is served, once for all requests that wait."""
        async with self._regaining:
            if self.has_lapsed:
                await self.beat()

    async def look(self) -> bool:
        """Bring the view up to this moment; answers whether the store could be asked."""
        try:
            snapshot = await self._store.snapshot()
        except StoreUnavailable:
            return False
        lease = snapshot.leases.get(self._describe().id)
        if self._away or lease is None or lease.renewed_ms < self._renewed_ms:
            self._begin_grace()
        self._see(snapshot)
        return True

    async def suspect(self, node_id: str) -> None:
        """A peer refused a connection, or another process answered in its place: it is dead now.

        The view is brought up to this moment first, so that only a lease renewed after it clears the suspicion.
        """
        await self.look()
        logger.warning("node %s is not there any more", node_id)
        self.membership.view = self.membership.view.suspect(node_id)

    async def _renew(self) -> Snapshot:
        """One heartbeat; where the store was away or lost us, everything is written anew."""
        self._asked = self._now()
        if not self._away:
            snapshot = await self._heartbeat()
            if snapshot is not None:
                return snapshot
            logger.warning("the store lost this node: writing node, shards and sessions anew")
        self._begin_grace()
        return await self._write_anew()

    def _begin_grace(self) -> None:
        self._grace_until = self._now() + self._settings.lease_seconds

    async def _heartbeat(self) -> Snapshot | None:
        return await self._store.heartbeat(
            self._describe(), self._settings.lease_seconds, self._renewed_ms, self._known_version
        )

    async def _write_anew(self) -> Snapshot:
        node = self._describe()
        self._renewed_ms = await self._store.register(node, self._settings.lease_seconds)
        for shard, epoch in list(self.membership.shards.items()):
            owner = await self._store.claim(shard, ShardOwner(node.id, epoch), expected_epoch=0)
            if owner.node_id != node.id and owner.epoch < epoch:
                owner = await self._store.claim(shard, ShardOwner(node.id, epoch), expected_epoch=owner.epoch)
            if owner.node_id != node.id:
                del self.membership.shards[shard]
                self._sessions.fence(shard)
        await self._sessions.save_all()
        self._store_is_back()
        self._known_version = -1
        snapshot = await self._heartbeat()
        if snapshot is None:
            raise StoreUnavailable("the store forgets what it was told")
        return snapshot

    def _take_over(self, snapshot: Snapshot) -> None:
        self._see(snapshot)
        self._renewed_ms = snapshot.leases[self._describe().id].renewed_ms
        self.membership.valid_until = self._asked + self._settings.lease_seconds

    def _see(self, snapshot: Snapshot) -> None:
        self.membership.view = advance(self.membership.view, snapshot, in_grace=self.is_in_grace)
        self._known_version = snapshot.version

    def _give_up_lost_shards(self) -> None:
        me = self._describe().id
        for shard in list(self.membership.shards):
            owner = self.membership.view.owner_of(shard)
            if owner is not None and owner.node_id != me:
                del self.membership.shards[shard]
                self._sessions.fence(shard)

    async def _prune(self) -> None:
        if self._now() < self._prune_at:
            return
        self._prune_at = self._now() + _PRUNE_EVERY_SECONDS
        forgotten = await self._store.prune(self._settings.forget_seconds)
        if forgotten:
            logger.info("forgot %d nodes that have been dead for long", forgotten)

    def _store_is_away(self, error: StoreUnavailable) -> None:
        """Sessions that live here go on: nobody can have taken the shards of a node while the store was away."""
        self.membership.valid_until = self._now() + self._settings.lease_seconds
        self.membership.why_degraded = str(error)
        self._away = True
        if self.membership.state is NodeState.READY:
            self._go(NodeState.DEGRADED)
            logger.warning("degraded, sessions go on: %s", error)

    def _store_is_back(self) -> None:
        self._away = False
        self.membership.why_degraded = ""
        if self.membership.state is NodeState.DEGRADED:
            self._go(NodeState.READY)
            logger.warning("the store is back and has everything again")

    def _go(self, state: NodeState) -> None:
        self.membership.state = move(self.membership.state, state)
