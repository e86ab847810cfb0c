"""One shard that goes to a peer: its sessions go on there under the same ids.

    step                                              and if that fails
    ------------------------------------------------  -----------------------------------------------------------------
    hold what is asked of its sessions from now on    -
    let what runs end                                 too slow: not now; the app serves on. At last: it is cut off, and
                                                      its client comes back to the peer, which decides what became of it
    let go of the clients that listen: they are told  -
    when to come back
    have on record what they may not have heard, and  the store is away: tried again, then not now
    what the author has dumped (`carrying`)           or not in time: the session goes without what it would dump
    let what calls have changed be written, and       the store is away: the same
    nothing more of that from now on
    give the shard, in one step of the store          the same; nobody else can have it meanwhile. Where the store does
                                                      not say what it did, it is asked again before anybody is served
    end the sessions in the app                       it is logged; the peer has them all the same
    end its handles of the modern era                 those that survive go on at the peer; of the others it says that
                                                      they are gone

A request that was held goes to the peer, like any that comes later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final

from mooring.core.model import NO_OWNER, NodeInfo, ShardOwner
from mooring.core.reconnects import Reconnects
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.store.patience import ask_for

logger = logging.getLogger("mooring.moving")

_LOOK_SECONDS: Final = 0.005
_CUT_OFF_SECONDS: Final = 1.0
"""How long a request that is cut off may take to end."""


@asynccontextmanager
async def _turns_of(sessions: Iterable[LocalSession]) -> AsyncIterator[None]:
    """Nobody writes what is kept of these sessions, and nobody has begun to."""
    async with AsyncExitStack() as turns:
        for session in sessions:
            await turns.enter_async_context(session.state_turn)
        yield


class HandOver:
    """
    Args:
        reconnects: when the clients that listen are to come back.
        now: seconds, by a steady clock.
    """

    def __init__(
        self,
        node: Node,
        reconnects: Reconnects,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._node = node
        self._reconnects = reconnects
        self._now = now
        self._sleep = sleep
        # Sessions in which something was cut off: it may go on in the app, for all that can be seen.
        self._cut_sessions: set[str] = set()

    def sessions_of(self, shard: str) -> list[LocalSession]:
        return [session for session in self._node.sessions.living() if session.shard == shard]

    def is_busy(self, shard: str, longer_than: float = 0.0) -> bool:
        """Whether something of it has been running for so many seconds."""
        since = self._now() - longer_than
        is_busy = any(session.is_busy(since) for session in self.sessions_of(shard))
        is_in_use = self._node.sessions.handles.are_in_use(shard)  # in a session of whichever shard, too
        return is_busy or is_in_use or self._node.arrivals.are_in(shard, longer_than)

    async def give(
        self,
        shard: str,
        receiver: NodeInfo,
        patience_seconds: float,
        *,
        cuts_off: bool = False,
        spares_handles: bool = False,
    ) -> bool:
        """Hand the shard over; returns whether the peer has it.

        Args:
            patience_seconds: how long what is asked of it may be held for what still runs.
            cuts_off: what runs even longer is cut off; else the shard stays here.
            spares_handles: so it does where something that a handle stands for would be lost.
        """
        membership = self._node.membership
        if shard not in membership.shards:
            return True  # another node has it by now
        began, stays = self._now(), True
        membership.moving.add(shard)
        try:
            if not await self._gets_quiet(shard, patience_seconds) and not cuts_off:
                return False
            if spares_handles and self._node.has_handles(shard):
                return False
            sessions = self.sessions_of(shard)
            self._cut_sessions |= await self._cut_off(sessions)
            await self._cut_off_handles(shard)
            named = {session.id for session in sessions} | self._sleepers(shard)
            await self._let_clients_go(named)
            await self._node.streams.write_down(named)
            kept = [*sessions, *self._node.sessions.handles.kept_in(shard)]
            await self._node.sessions.records.write_due_of(kept)  # the next owner goes by them
            await self._pack(shard, sessions)
            async with _turns_of(kept):
                await self._node.sessions.records.make_sure(kept)
                stays = False  # as long as nobody knows
                owner = await self._store_gives(shard, receiver)
                stays = owner.node_id == self._node.id
                if not stays:
                    self._node.carrying.gave(shard)
                if owner.node_id != receiver.id:
                    return False
                membership.gave(shard, owner)
                sessions = self.sessions_of(shard)  # one may have been opened since
                await self._node.sessions.move_away(sessions)
            self._node.sessions.handles.move_away(shard)
            for session_id in named:
                await self._node.listeners.forget_sleeper(session_id)
        except StoreUnavailable as error:
            logger.warning("shard %s stays here for now: %s", shard, error)
            return False
        except Fenced as error:
            stays = False  # the heartbeat finds out whose it is
            logger.warning("shard %s is not given: %s", shard, error)
            return False
        finally:
            membership.moving.discard(shard)
            if shard in membership.shards:
                if stays:
                    self._node.carrying.unpack_soon(shard)
                else:
                    membership.doubtful.add(shard)
        logger.info(
            "gave shard %s with %d sessions to node %s in %.0f ms",
            shard,
            len(sessions),
            receiver.id,
            1000 * (self._now() - began),
        )
        return True

    async def _gets_quiet(self, shard: str, patience_seconds: float) -> bool:
        await asyncio.sleep(0)  # what was decided before the shard was held has begun after this
        give_up = self._now() + patience_seconds
        while self.is_busy(shard):
            if self._now() > give_up:
                return False
            await self._sleep(_LOOK_SECONDS)
        return True

    async def _cut_off(self, sessions: list[LocalSession]) -> set[str]:
        """Nothing more of what still runs gets out. Its client's stream ends well, so that it comes back for the rest.

        What it is, is on record before that. Returns the sessions in which there was something.
        """
        busy = {session.id for session in sessions if session.is_busy(self._now())}
        if not busy:
            return busy
        running = [request for session in sessions for request in session.running if not request.is_listening]
        await self._node.streams.write_down(session.id for session in sessions)
        for request in running:
            request.cut_off()
        give_up = self._now() + _CUT_OFF_SECONDS
        while any(session.is_busy(self._now()) for session in sessions) and self._now() < give_up:
            await self._sleep(_LOOK_SECONDS)
        return busy

    async def _cut_off_handles(self, shard: str) -> None:
        """Calls with handles that go on at the peer. Those with others, which nobody else will have, may end here."""
        handles = self._node.sessions.handles
        handles.cut_off(shard)
        give_up = self._now() + _CUT_OFF_SECONDS
        while handles.are_in_use(shard, elsewhere=True) and self._now() < give_up:
            await self._sleep(_LOOK_SECONDS)

    async def _pack(self, shard: str, sessions: list[LocalSession]) -> None:
        """
        Raises:
            StoreUnavailable: as `Carrying.pack`.
            Fenced: the same.
        """
        is_ours = shard not in self._node.carrying.doubtful_shards or await is_ours_by_now(self._node, shard)
        await self._node.carrying.pack(shard, sessions, self._cut_sessions, is_ours=is_ours)

    def _sleepers(self, shard: str) -> set[str]:
        """Sessions that have no life here, but streams: somebody may listen to one, or come back for it."""
        return {name for name in self._node.streams.sessions() if self._node.ids.shard_of(name) == shard}

    async def _let_clients_go(self, sessions: Iterable[str]) -> None:
        listened_to = [
            stream for session_id in sessions for stream in self._node.streams.of(session_id) if stream.has_listener
        ]
        # All at once: the shard's requests wait for those that take their time.
        await asyncio.gather(
            *(stream.dismiss(self._reconnects.next_milliseconds(self._now())) for stream in listened_to)
        )

    async def _store_gives(self, shard: str, receiver: NodeInfo) -> ShardOwner:
        """Whoever has the shard after this. An answer that was lost on its way is asked for again.

        Raises:
            StoreUnavailable: it does not answer for as long as requests can wait.
        """
        epoch = self._node.membership.shards.get(shard)
        if epoch is None:
            return NO_OWNER  # it was lost meanwhile
        giver = ShardOwner(self._node.id, epoch)
        give = partial(self._node.store.give, shard, giver, receiver.id)
        return await ask_for(self._node.settings.hold_seconds / 2, give, now=self._now, sleep=self._sleep)


async def is_ours_by_now(node: Node, shard: str) -> bool:
    """Whether the store says so at this moment: of a gift whose answer was lost nobody knows before.

    Raises:
        StoreUnavailable: it says nothing.
    """
    if not await node.keeper.look():
        raise StoreUnavailable(f"nobody says whose shard {shard} is")
    owner = node.membership.view.owner_of(shard)
    return shard in node.membership.shards and owner is not None and owner.node_id == node.id


async def remove_old_dumps(node: Node) -> None:
    """Those that could not be removed when their shards stayed here, or of which nobody knew whose they are.

    Raises:
        StoreUnavailable: not all that are left are removed.
    """
    for shard in node.carrying.doubtful_shards - node.membership.moving:
        is_ours = await is_ours_by_now(node, shard)
        if shard in node.membership.moving:
            continue  # since this moment: whoever gives it away knows what to do with them
        if is_ours:
            node.carrying.unpack_soon(shard)
        else:
            node.carrying.gave(shard)
