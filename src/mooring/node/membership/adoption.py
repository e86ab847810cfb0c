"""Shards that change their owner while the cluster runs: taken over from the dead, and let go once they are empty.

    a shard                                      is taken over
    -------------------------------------------  --------------------------------------------------------------------
    of a dead node, which a request asks for     at once, by the node that has the request
    of a dead node that had sessions             soon after, by the node that all agree on (`orphans_for`), so that the
                                                 ingress has somebody to route to
    that the store has forgotten                 when a session of it is asked for that has a record
    that its owner gives to this node            when the store says so: nothing is asked

A node whose lease is over may live, and go on because no peer that it knows reaches the store: see
`mooring.core.standing`. It may not ask one that has joined since, or is one of many: that one tells it before it takes
anything of it.

A shard that was taken over, and has had no session here for a while, is let go: its sessions' records stay, and whoever
is asked for one of them takes the shard again. So the shards of nodes that come and go do not pile up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from mooring.core.membership import Membership
from mooring.core.model import NO_OWNER, TAKES_NEW_SESSIONS, SessionRecord, ShardOwner, Touch, Written
from mooring.core.standing import YOURS_IS_OVER
from mooring.errors import StoreUnavailable
from mooring.node.counters import Tally
from mooring.node.membership.peers_word import AskPeers, nobody_answers
from mooring.node.membership.sessions import LocalSessions
from mooring.store.base import Store

logger = logging.getLogger("mooring.lease")

EMPTY_SECONDS: Final = 600.0


class Adoption:
    """
    Args:
        now: seconds, by a clock that does not stop while the process does.
        ask: how another node is reached.

    Attributes:
        adopted: this node's shards that others had before, and when each was last seen to have a session.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        sessions: LocalSessions,
        node_id: str,
        tally: Tally,
        now: Callable[[], float] = time.monotonic,
        ask: AskPeers = nobody_answers,
    ) -> None:
        self.adopted: dict[str, float] = {}
        self._store = store
        self._membership = membership
        self._sessions = sessions
        self._node_id = node_id
        self._tally = tally
        self._now = now
        # Those that are asked of the store at this moment: a heartbeat may hear of it first.
        self._asking: set[str] = set()
        # Nodes that were told that their lease is over, or did not answer; and when they had renewed it last.
        self._told: dict[str, int] = {}
        # Those that are being told.
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._ask = ask

    def own_shards(self) -> list[str]:
        """This node's shards that nobody had before."""
        return [shard for shard in self._membership.shards if shard not in self.adopted]

    async def adopt(self, shard: str, owner: ShardOwner) -> bool:
        """Take a shard over from an owner that is dead; returns whether it is ours now.

        Raises:
            StoreUnavailable: nobody can say whether the owner is dead.
        """
        await self._tell({owner.node_id})
        known = self._membership.shards.get(shard)
        self._asking.add(shard)
        self._membership.adopting[shard] = True
        try:
            now_owned_by = await self._store.adopt(shard, self._node_id, owner.epoch)
        except BaseException:
            self._membership.adopting[shard] = False  # the next look tells
            raise
        else:
            self._membership.adopting.pop(shard, None)
        finally:
            self._asking.discard(shard)
        is_news = known != now_owned_by.epoch
        if not self._membership.claimed(shard, now_owned_by):
            self._membership.learned(shard, now_owned_by)
            return False
        if is_news:
            self._note(shard)
            logger.warning("adopted shard %s of node %s, which is dead: see its log", shard, owner.node_id)
        return True

    async def _tell(self, node_ids: AbstractSet[str]) -> None:
        """Those that may live, and need not have asked this one, are told that their leases are over, all at once, and
        each once for however many requests want its shards.
        """
        while untold := self._untold(node_ids):
            if fresh := {node_id: renewed_ms for node_id, renewed_ms in untold.items() if node_id not in self._telling}:
                self._telling |= dict.fromkeys(fresh, asyncio.create_task(self._tell_all(fresh)))
            await asyncio.gather(*(asyncio.shield(self._telling[node_id]) for node_id in untold))

    def _untold(self, node_ids: AbstractSet[str]) -> dict[str, int]:
        """Those of them that are to be told, and when they had renewed their leases last."""
        nodes = self._membership.view.nodes
        return {
            node_id: nodes[node_id].renewed_ms
            for node_id in sorted(node_ids)
            if self._membership.may_not_be_asked_by(node_id) and self._told.get(node_id) != nodes[node_id].renewed_ms
        }

    async def _tell_all(self, untold: dict[str, int]) -> None:
        """They serve nothing from then on. One that does not answer, or is of a release that does not know this, is as
        dead as any.
        """
        nodes = self._membership.view.nodes  # one that was forgotten in this moment has nobody to tell
        try:
            there = [nodes[node_id].info for node_id in untold if node_id in nodes]
            answers = await self._ask(there, [YOURS_IS_OVER])
        finally:
            for node_id in untold:
                del self._telling[node_id]
        known = self._membership.view.nodes
        self._told = {node_id: renewed_ms for node_id, renewed_ms in self._told.items() if node_id in known} | untold
        for node, word in answers:
            if not word.can_renew:
                logger.warning(
                    "told node %s that its lease is over: it runs, and does not reach the store; look at its way to "
                    "Redis",
                    node.id,
                )

    async def hold(self, shard: str, least_epoch: int) -> int:
        """Make sure that a shard is ours, where nobody owns it; returns the epoch at which it is, 0 where it is not.

        Args:
            least_epoch: the lowest at which a record of the shard can be written. A shard that was forgotten begins
                anew by the first record that is asked for, and others may be of a later epoch.

        Raises:
            StoreUnavailable: nobody can say whose it is.
        """
        held_at = self._membership.shards.get(shard, 0)
        if held_at < max(least_epoch, 1) and not self._membership.has_left:
            owner = await self._store.claim(shard, ShardOwner(self._node_id, max(least_epoch, 1)), 0)
            if not self._membership.claimed(shard, owner, is_raised=held_at > 0):
                self._membership.learned(shard, owner)
            elif not held_at:
                self._note(shard)
                logger.warning("adopted shard %s, which nobody owned any more", shard)
        return self._membership.shards.get(shard, 0)

    async def hold_for(self, record: SessionRecord, shard: str) -> int:
        """The same for a session's record: at its own epoch only where this node wrote it.

        Raises:
            StoreUnavailable: as `hold`.
        """
        return await self.hold(shard, record.epoch + (record.node_id != self._node_id))

    async def take(self, session_id: str, shard: str, ttl_seconds: int) -> tuple[SessionRecord | None, int]:
        """The record as its last owner left it, whom it refuses from now on; and our epoch, 0 where it is not ours.

        Args:
            ttl_seconds: how long the record is kept from now on.

        Raises:
            StoreUnavailable: nobody knows.
        """
        record = await self._store.load_session(session_id)
        if record is None:
            return None, 1
        epoch = await self.hold_for(record, shard)
        if epoch > record.epoch:
            touch = Touch(session_id, epoch, record.last_seen)
            untouched = await self._store.touch_sessions([touch], ttl_seconds)
            if untouched.get(session_id) is Written.REFUSED:
                return None, 0
            record = await self._store.load_session(session_id)
        return record, epoch

    def notice_given(self) -> None:
        """Take note of what peers gave to this node."""
        for shard, giver in self._membership.take_given().items():
            is_fresh = self._membership.shards.get(shard, 0) <= 1
            if shard in self._asking or shard in self.adopted or is_fresh:
                continue
            self.adopted[shard] = self._now()
            logger.info("took shard %s, which node %s gave", shard, giver or "(unknown)")

    async def adopt_orphans(self) -> None:
        """Take over what all agree to be for this node.

        Raises:
            StoreUnavailable: the rest is for the next time.
        """
        if self._membership.state in TAKES_NEW_SESSIONS:
            orphans = self._membership.view.orphans_for(self._node_id)
            await self._tell({owner.node_id for _, owner in orphans})
            for shard, owner in orphans:
                await self.adopt(shard, owner)

    async def let_empty_ones_go(self) -> None:
        """
        Raises:
            StoreUnavailable: the rest is for the next time.
        """
        in_use = self._sessions.shards()
        for shard, since in list(self.adopted.items()):
            epoch = self._membership.shards.get(shard)
            if epoch is None:
                del self.adopted[shard]
            elif shard in in_use:
                self.adopted[shard] = self._now()
            elif self._now() - since > EMPTY_SECONDS:
                await self._let_go(shard, epoch)

    async def _let_go(self, shard: str, epoch: int) -> None:
        self._membership.let_go(shard)  # first: no session is opened or revived there meanwhile
        try:
            owner = await self._store.retire(shard, ShardOwner(self._node_id, epoch))
        except StoreUnavailable:
            # It may be ours still. If it is not, the store does not name us, and it is written anew.
            self._membership.claimed(shard, ShardOwner(self._node_id, epoch))
            raise
        del self.adopted[shard]
        if owner == NO_OWNER:
            logger.info("let shard %s go: it has had no session here for %.0f s", shard, EMPTY_SECONDS)

    def _note(self, shard: str) -> None:
        self.adopted[shard] = self._now()
        self._tally.adopted += 1
