"""The node's lease, kept alive by a heartbeat; and what is done about the store's answers.

What an answer means is decided in `mooring.core.membership`; here it is asked for and acted on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from mooring.core.membership import Membership
from mooring.core.model import NodeInfo, NodeState, ShardOwner
from mooring.errors import DeclaredDead, StoreUnavailable
from mooring.node.membership.sessions import LocalSessions
from mooring.node.membership.shared import Shared
from mooring.settings import Settings
from mooring.store.base import Store

logger = logging.getLogger("mooring.lease")

_PRUNE_EVERY_SECONDS = 60.0

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_seconds() -> float:
    """By a clock that goes on while the machine sleeps, where there is one: a lease does not wait for a sleeper."""
    return time.clock_gettime(_CLOCK)


class LeaseKeeper:
    """Keeps one node a member of its cluster: tells `Membership` what the store answers, and does what follows.

    Attributes:
        membership: what is known and decided; only the methods here change it.
        look: brings the view up to this moment, once for however many requests want that; returns whether the store
            could be asked.

    Args:
        describe: what the node says of itself now.
        on_beat: called after each heartbeat, whatever came of it, with the last renewal (`Lease.renewed_ms`).
        now: seconds, by a clock that does not stop while the process does.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        sessions: LocalSessions,
        node_id: str,
        describe: Callable[[], NodeInfo],
        *,
        on_beat: Callable[[int], None] = lambda _: None,
        now: Callable[[], float] = steady_seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.membership = Membership(node_id, settings.lease_seconds)
        self._store = store
        self._settings = settings
        self._sessions = sessions
        self._node_id = node_id
        self._describe = describe
        self._on_beat = on_beat
        self._now = now
        self._sleep = sleep
        self.look = Shared(self._look)
        # One beat at a time: the store compares each renewal with the one before.
        self._beating = asyncio.Lock()
        # Requests that found the lease lapsed wait here for one of them to ask.
        self._regaining = asyncio.Lock()
        self._prune_at = 0.0

    @property
    def has_lapsed(self) -> bool:
        """Whether the lease may have ended without our noticing."""
        return self.membership.has_lapsed(self._now())

    @property
    def is_in_grace(self) -> bool:
        """Whether the store may not have everything again yet: what is missing there may exist all the same."""
        return self.membership.is_in_grace(self._now())

    async def join(self, fresh_shards: Callable[[], str]) -> None:
        """Register and claim this node's first shards.

        Raises:
            StoreUnavailable: a node does not start without its store.
        """
        await self._register()
        while len(self.membership.shards) < self._settings.shards:
            shard = fresh_shards()
            self.membership.claimed(shard, await self._claim(shard, epoch=1, expected_epoch=0))
        self.membership.go(NodeState.READY)
        await self.beat()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._sleep(self._settings.heartbeat_seconds)
            try:
                await self.beat()
            except Exception:
                logger.exception("the heartbeat failed; the next one comes as usual")

    async def leave(self) -> None:
        """Say goodbye, so that peers need not wait for the lease to end."""
        self.membership.go(NodeState.GONE)
        try:
            await self._sessions.flush()
            await self._store.leave(self._describe())
        except StoreUnavailable as error:
            logger.warning("left without saying goodbye; the lease ends by itself: %s", error)

    async def beat(self) -> None:
        """Renew the lease once, and act on what the store says."""
        async with self._beating:
            try:
                await self._renew()
                await self._sessions.flush()
                await self._prune()
            except StoreUnavailable as error:
                if self.membership.missed(str(error), self._now()):
                    logger.warning("degraded, sessions go on: %s", error)
            except DeclaredDead as error:
                lost = self.membership.declared_dead()
                if lost:
                    logger.error("%s: its sessions here end; start it again", error)
                for shard in lost:
                    self._sessions.fence(shard)
            self._on_beat(self.membership.renewed_ms)

    async def regain(self) -> None:
        """Ask the store before the next request is served, once for all requests that wait."""
        async with self._regaining:
            if self.has_lapsed:
                await self.beat()

    async def _look(self) -> bool:
        """Bring the view up to this moment; returns whether the store could be asked."""
        try:
            snapshot = await self._store.snapshot()
        except StoreUnavailable:
            return False
        self.membership.looked(snapshot, self._now())
        return True

    async def adopt(self, shard: str, owner: ShardOwner) -> bool:
        """Take a shard over from an owner that is dead; returns whether it is ours now.

        Raises:
            StoreUnavailable: nobody can say whether the owner is dead.
        """
        now_owned_by = await self._store.adopt(shard, self._node_id, owner.epoch)
        adopted = self.membership.claimed(shard, now_owned_by)
        if adopted:
            logger.warning("adopted shard %s of node %s, which is dead", shard, owner.node_id)
        else:
            self.membership.learned(shard, now_owned_by)
        return adopted

    async def hold(self, shard: str, last_epoch: int) -> int:
        """Make sure that a shard is ours, where nobody owns it; returns the epoch at which it is, 0 where it is not.

        Args:
            last_epoch: the highest that the shard is known to have had.

        Raises:
            StoreUnavailable: nobody can say whose it is.
        """
        if shard not in self.membership.shards:
            self.membership.claimed(shard, await self._claim(shard, last_epoch + 1, expected_epoch=0))
        return self.membership.shards.get(shard, 0)

    async def _renew(self) -> None:
        """One heartbeat; where the store was away or lost something of ours, everything is written again."""
        asked = self._now()
        if not self.membership.must_write_anew and not await self._heartbeat(asked):
            self.membership.forgotten()
        if not self.membership.must_write_anew:
            return
        self.membership.begin_writing_anew(self._now())
        await self._write_anew()
        if self.membership.wrote_anew():
            logger.warning("the store is back and has everything again")
        if not await self._heartbeat(asked):  # it says that the node is ready again, so it comes last
            raise StoreUnavailable("the store forgets what it was told")

    async def _heartbeat(self, asked: float) -> bool:
        """Whether the store knew this node as it was at its last renewal, and renewed its lease.

        Args:
            asked: when this beat began; no lease that it renews began earlier.
        """
        known = self.membership
        snapshot = await self._store.heartbeat(
            self._describe(), self._settings.lease_seconds, known.renewed_ms, known.known_version
        )
        if snapshot is None:
            return False
        for shard in known.renewed(snapshot, asked, self._now()):
            self._sessions.fence(shard)
        return True

    async def _write_anew(self) -> None:
        logger.warning("the store may have lost something: writing node, shards and sessions again")
        await self._register()
        for shard, epoch in list(self.membership.shards.items()):
            owner = await self._claim(shard, epoch, expected_epoch=0)
            if self.membership.outranks(shard, owner):
                owner = await self._claim(shard, epoch, expected_epoch=owner.epoch)
            if not self.membership.claimed(shard, owner):
                self._sessions.fence(shard)
        await self._sessions.save_all()

    async def _register(self) -> None:
        self.membership.registered(await self._store.register(self._describe(), self._settings.lease_seconds))

    async def _claim(self, shard: str, epoch: int, expected_epoch: int) -> ShardOwner:
        return await self._store.claim(shard, ShardOwner(self._node_id, epoch), expected_epoch)

    async def _prune(self) -> None:
        if self._now() < self._prune_at:
            return
        self._prune_at = self._now() + _PRUNE_EVERY_SECONDS
        forgotten = await self._store.prune(self._settings.forget_seconds)
        if forgotten:
            logger.info("forgot %d nodes that have been dead for a long time", forgotten)
