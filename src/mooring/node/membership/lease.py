"""The node's lease, kept alive by a heartbeat; and what is done about the store's answers, or its silence.

What an answer means is decided in `mooring.core.membership`; here it is asked for and acted on. A node whose renewal
fails asks its peers (`mooring.core.standing`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from mooring.core.membership import Membership
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo, NodeState, ShardOwner
from mooring.core.standing import Standing
from mooring.errors import DeclaredDead, StoreUnavailable
from mooring.node.counters import Tally
from mooring.node.membership.adoption import Adoption
from mooring.node.membership.idle import IdleSessions
from mooring.node.membership.peers_word import AskPeers, PeersWord, nobody_answers
from mooring.node.membership.running_calls import RunningCalls
from mooring.node.membership.sessions import LocalSessions
from mooring.node.membership.shared import Shared
from mooring.settings import Settings
from mooring.store.base import Store

logger = logging.getLogger("mooring.lease")

_PRUNE_EVERY_SECONDS = 60.0
_REGAIN_EVERY_SECONDS: Final = 0.2
_START_TRIES: Final = 5
_LEAVE_TRIES: Final = 3
_AGAIN_SECONDS: Final = 0.25

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_seconds() -> float:
    """By a clock that goes on while the machine sleeps, where there is one: a lease does not wait for a sleeper."""
    return time.clock_gettime(_CLOCK)


class LeaseKeeper:
    """Keeps one node a member of its cluster: tells `Membership` what the store answers, and does what follows.

    Attributes:
        adoption: of other nodes' shards.
        running_calls: what is on record of them.
        membership: what is known and decided; only the methods here change it.
        look: brings the view up to this moment, once for however many requests want that; returns whether the store
            could be asked.
        renew: renews the lease, once for all who want it; returns whether that was done after they asked.

    Args:
        describe: what the node says of itself now.
        ask_peers: how peers are asked.
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
        tally: Tally | None = None,
        ask_peers: AskPeers = nobody_answers,
        on_beat: Callable[[int], None] = lambda _: None,
        now: Callable[[], float] = steady_seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.membership = Membership(node_id, settings.lease_seconds)
        self._store = store
        self._settings = settings
        self._sessions = sessions
        self._idle = IdleSessions(sessions, settings)
        self.running_calls = RunningCalls(sessions, lambda: store.journal, settings.call_log_seconds, now)
        self._node_id = node_id
        self._describe = describe
        goes_on_alone = settings.when_isolated == "go_on"
        self.adoption = Adoption(store, self.membership, sessions, node_id, tally or Tally(), now, ask_peers)
        self._peers = PeersWord(self.membership, node_id, ask_peers, now, goes_on_alone=goes_on_alone)
        self._on_beat = on_beat
        self._now = now
        self._sleep = sleep
        self.look = Shared(self._look)
        # One at a time: the store compares each renewal with the one before. A peer that asks whether we can renew gets
        # an answer from here, so this asks no peer: two who ask each other would wait for each other.
        self.renew = Shared(self._renew_once)
        # What else the store has to be told; it may take longer than a heartbeat, which does not wait for it.
        self._telling: asyncio.Task[None] | None = None
        self._beat = Shared(self._beat_once)
        self._regain = Shared(self._regain_once)
        self._prune_at = 0.0
        # Names shards that nobody has had; set once the node has joined.
        self._fresh_shards: Callable[[], str] | None = None

    @property
    def has_lapsed(self) -> bool:
        """Whether the lease may be over. Whoever said goodbye has none, and ends what it began."""
        return self.membership.has_lapsed(self._now()) and self.membership.state is not NodeState.GONE

    @property
    def cluster_time(self) -> float:
        """Seconds since the epoch as every node has them, however wrong its machine's clock is: by the store's clock,
        as it was at the last renewal."""
        told = self.membership.store_time(self._now())
        return time.time() if told is None else told

    @property
    def helper(self) -> NodeInfo | None:
        """A peer that could renew when we could not: it takes what we may not serve."""
        return self._peers.helper if self.membership.standing is Standing.CUT_OFF else None

    @property
    def is_in_grace(self) -> bool:
        """Whether the store may not have everything again yet: what is missing there may exist all the same."""
        return self.membership.is_in_grace(self._now())

    @property
    def store_is_filling(self) -> bool:
        """Whether that may be so of the shards that this node has never heard of, since it has just joined."""
        return self.membership.store_is_filling(self._now())

    async def join(self, fresh_shards: Callable[[], str]) -> None:
        """Register and claim this node's first shards; a store that is slow, or starts as well, gets a little time.

        Raises:
            StoreUnavailable: a node does not start without its store.
        """
        await self._begin_in_time(fresh_shards)
        self._fresh_shards = fresh_shards
        self.membership.go(NodeState.READY)
        await self.beat()

    async def _begin_in_time(self, fresh_shards: Callable[[], str]) -> None:
        for failed in range(1, _START_TRIES):
            try:
                return await self._begin(fresh_shards)
            except StoreUnavailable as error:
                if failed == 1:
                    logger.warning("not started yet, and trying again: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)  # there is no node yet that its clock could tell of
        return await self._begin(fresh_shards)

    async def _begin(self, fresh_shards: Callable[[], str]) -> None:
        await self._register()
        await self._claim_shards(fresh_shards)

    async def _claim_shards(self, fresh_shards: Callable[[], str]) -> None:
        """As many as a node begins with."""
        while len(self.adoption.own_shards()) < self._settings.shards:
            shard = fresh_shards()
            self.membership.claimed(shard, await self._claim(shard, epoch=1, expected_epoch=0))

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self._sleep(self._settings.heartbeat_seconds)
            try:
                await self.beat()
            except Exception:
                logger.exception("the heartbeat failed; the next one comes as usual")

    async def leave(self) -> None:
        """Say goodbye, so that peers need not wait for the lease to end; a store that is silent gets a little time."""
        self.membership.go(NodeState.GONE)
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait({self._telling})
        for failed in range(1, _LEAVE_TRIES + 1):
            try:
                await self._sessions.records.flush()
                await self._store.leave(self._describe())
                return
            except StoreUnavailable as error:
                if failed == _LEAVE_TRIES:
                    logger.warning(
                        "left without saying goodbye, so peers wait for the end of the lease (lease_seconds): %s", error
                    )
                    return
            await asyncio.sleep(_AGAIN_SECONDS)

    async def beat(self) -> None:
        """Renew the lease once, and act on what the store says; where it says nothing, on what the peers say."""
        await self._beat()

    async def regain(self) -> bool:
        """Whether the node may serve; where its lease has lapsed, the store or the peers are asked first."""
        if self.has_lapsed:
            await self._regain()
        return not self.has_lapsed

    async def _regain_once(self) -> None:
        if self.has_lapsed:  # those who asked before may have done it
            await self._beat()

    async def regain_in_time(self) -> bool:
        """The same for what cannot be asked again: it waits for the answer as long as a request may be held."""
        give_up = self._now() + self._settings.hold_seconds
        while not await self.regain():
            if self._now() > give_up:
                return False
            await self._sleep(_REGAIN_EVERY_SECONDS)
        return True

    async def _beat_once(self) -> None:
        if self.membership.standing is None:
            if not await self.renew():
                await self._hear_peers()
        else:  # the next word has to be there before the last one is used up
            await asyncio.gather(self.renew(), self._hear_peers())
        if self.membership.standing is None:
            await self._tell_the_rest()

    async def _tell_the_rest(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._flush_and_prune(), name="mooring records")
        done, _ = await asyncio.wait({self._telling}, timeout=self._settings.heartbeat_seconds)
        for told in done:
            told.result()

    async def _flush_and_prune(self) -> None:
        try:
            self._idle.let_go()
            self._sessions.handles.end_idle(self._settings.handle_idle_seconds)
            self.adoption.notice_given()
            await self._sessions.records.flush()
            await self.running_calls.keep()
            await self.adoption.adopt_orphans()
            await self._prune()
        except StoreUnavailable as error:
            self._note_failure(error)

    def _note_failure(self, error: StoreUnavailable) -> None:
        if self.membership.missed(error):
            logger.warning("degraded: %s", error)

    async def _renew_once(self) -> bool:
        is_renewed = False
        try:
            await self._renew()
            is_renewed = True
        except StoreUnavailable as error:
            self._note_failure(error)
        except DeclaredDead as error:
            is_renewed = True  # the store answered: there is nothing to ask peers for
            lost = self.membership.declared_dead()
            if lost:
                logger.error("%s: its sessions here end; start it again", error)
            self._fence(lost)
        self._on_beat(self.membership.renewed_ms)
        return is_renewed

    def was_told_that_it_is_over(self) -> None:
        """A peer that could renew says so of our lease, which we could not renew just now."""
        before = self.membership.standing
        self.membership.was_told_that_it_is_over()
        if self.membership.standing is not before:
            logger.error(
                "a node that has joined reaches the store, which this one does not, and takes over what is here: this "
                "node serves nothing until it reaches the store again; look at its way to Redis (redis_url)"
            )

    async def _hear_peers(self) -> None:
        self._fence(await self._peers.hear())

    def _fence(self, shards: Iterable[str]) -> None:
        for shard in shards:
            self._sessions.fence(shard)

    async def _look(self) -> bool:
        """Bring the view up to this moment; returns whether the store could be asked."""
        known = self.membership
        shards_then = dict(known.shards)
        try:
            snapshot = await self._store.look(self._node_id, known.renewed_ms, known.known)
        except StoreUnavailable:
            return False
        known.looked(known.with_later_claims(snapshot, shards_then), self._now())
        return True

    async def _renew(self) -> None:
        """One heartbeat; where the store was away or lost something of ours, everything is written again."""
        asked = self._now()
        if not self.membership.must_write_anew and not await self._heartbeat(asked):
            self.membership.forgotten()
        if self.membership.must_write_anew:
            await self._renew_anew(asked)
        takes_new = self.membership.state in TAKES_NEW_SESSIONS
        if self._fresh_shards is not None and takes_new and not self.adoption.own_shards():
            # Others have adopted all that it had, and would adopt a session in a shard that nobody holds.
            await self._claim_shards(self._fresh_shards)

    async def _renew_anew(self, asked: float) -> None:
        self.membership.begin_writing_anew(self._now())
        await self._write_anew(asked)
        self._sessions.records.write_all_again(from_the_start=self.membership.has_lost)
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
        shards_then = dict(known.shards)
        snapshot = await self._store.heartbeat(
            self._describe(), self._settings.lease_seconds, known.renewed_ms, known.known
        )
        if snapshot is None:
            return False
        self._fence(known.renewed(known.with_later_claims(snapshot, shards_then), asked, self._now()))
        return True

    async def _write_anew(self, asked: float) -> None:
        await self._register()
        logger.warning(
            "the store may have lost something: writing node, shards and sessions again; see its "
            "persistence (appendonly)"
        )
        for shard, epoch in list(self.membership.shards.items()):
            await self._claim_anew(shard, epoch)
        self.membership.holds_until_renewed(asked)

    async def _claim_anew(self, shard: str, epoch: int) -> None:
        """As far as it is still ours at that epoch: a node that drains gives its shards away meanwhile."""

        def is_ours() -> bool:
            return self.membership.shards.get(shard) == epoch

        if not is_ours():
            return
        owner = await self._claim(shard, epoch, expected_epoch=0)
        if is_ours() and self.membership.outranks(shard, owner):
            owner = await self._claim(shard, epoch, expected_epoch=owner.epoch)
        if is_ours() and not self.membership.claimed(shard, owner):
            self._sessions.fence(shard)

    async def _register(self) -> None:
        self.membership.registered(await self._store.register(self._describe(), self._settings.lease_seconds))

    async def _claim(self, shard: str, epoch: int, expected_epoch: int) -> ShardOwner:
        return await self._store.claim(shard, ShardOwner(self._node_id, epoch), expected_epoch)

    async def _prune(self) -> None:
        if self._now() < self._prune_at:
            return
        self._prune_at = self._now() + _PRUNE_EVERY_SECONDS
        await self.adoption.let_empty_ones_go()
        forgotten = await self._store.prune(self._settings.forget_seconds)
        if forgotten:
            logger.info("forgot %d nodes that have been dead for a long time", forgotten)
