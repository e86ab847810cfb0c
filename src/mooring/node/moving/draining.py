"""A node gives away all that it has, so that it can end and nobody notices.

    the node                                          and others
    ------------------------------------------------  -----------------------------------------------------------------
    says that it is draining, and is not ready        bring it no new sessions
    gives its shards to the least loaded, one by one  go on with their sessions
    and those with slow calls last: at the deadline   the same; what was cut off is settled there
    is not well any more, where it is about to end    load balancers stop sending to it; what they still send goes on
                                                      to the new owners
    ends streams of `subscriptions/listen`            listen elsewhere
    waits for calls of the modern era
    waits until peers begin to answer what it passed  do so; a client that has nothing of an answer could not come back
    on to them, for some seconds                      for it
    says goodbye

Peers that are full take them where no other does: only new sessions may go elsewhere. Where no peer is ready nothing
moves: what runs may end, and the records wait for the next start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from mooring.core.balance import Dealer
from mooring.core.model import TAKES_NEW_SESSIONS, NodeState
from mooring.core.reconnects import Reconnects
from mooring.errors import StoreUnavailable
from mooring.node.moving.handing_over import HandOver
from mooring.node.node import Node
from mooring.store.patience import ask_for

logger = logging.getLogger("mooring.moving")

_PATIENCE_SECONDS: Final = 0.5
"""How long what is asked of a shard is held for what still runs in it: a client should not feel it."""
_PAUSE_SECONDS: Final = 0.05


class Drain:
    """
    Args:
        now: seconds, by a steady clock.
    """

    def __init__(
        self,
        node: Node,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._node = node
        self._now = now
        self._sleep = sleep

    async def run(self) -> bool:
        """Give away everything; returns whether that was possible, and all is on other nodes now."""
        async with self._node.moves:
            return await self._run()

    async def _run(self) -> bool:
        node = self._node
        if not node.has_joined or node.membership.has_left:
            return False
        if node.membership.state in TAKES_NEW_SESSIONS:
            node.membership.go(NodeState.DRAINING)
        sessions, began = len(node.sessions), self._now()
        logger.info("draining: %d sessions in %d shards", sessions, len(node.membership.shards))
        await node.keeper.beat()
        is_done = await self._give_all(began + node.settings.most_drain_seconds)
        if is_done:
            logger.info("drained %d sessions in %.1f s", sessions, self._now() - began)
        else:
            logger.info(
                "%d sessions stay with this node: no peer took them; they are on record, and go on once a node starts",
                len(node.sessions),
            )
        return is_done

    async def _give_all(self, deadline: float) -> bool:
        node = self._node
        hand_over = HandOver(node, Reconnects(self._listeners()), self._now, self._sleep)
        dealer = Dealer(node.id)
        give_up = deadline + node.settings.hold_seconds
        while shards := list(node.membership.shards):
            await node.keeper.look()
            is_late = self._now() >= deadline
            for shard in shards:
                if hand_over.is_busy(shard, longer_than=_PATIENCE_SECONDS) and not is_late:
                    continue  # a slow call: what else is asked of its shard need not wait for it
                receiver = dealer.receiver(node.membership.view)
                if receiver is None:
                    return False
                sessions = len(hand_over.sessions_of(shard))
                if await hand_over.give(shard, receiver, _PATIENCE_SECONDS, cuts_off=is_late):
                    dealer.dealt(receiver, sessions)
            if self._now() > give_up:
                logger.warning("%d shards could not be given away in time (drain_seconds)", len(node.membership.shards))
                return False
            await self._sleep(_PAUSE_SECONDS)
        return True

    def _listeners(self) -> int:
        return sum(stream.has_listener for stream in self._node.streams.standing())


async def drain_and_end(node: Node, sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep) -> None:
    """Drain a node whose process is about to end: it returns once nobody sends to it any more, as far as it can know.

    Where nothing could be given away, those who only listen are let go, and all is on record that can be.
    """
    began = time.monotonic()
    is_done = not node.is_alone and await Drain(node).run()
    node.is_ending = True
    await node.listeners.end()
    if is_done:
        await sleep(node.settings.ingress_seconds)
    await node.open_calls.end_subscriptions()  # not before: whoever listens again at once would come here
    if node.is_alone:
        return
    left = began + node.settings.most_drain_seconds - time.monotonic()
    if not await node.open_calls.wait(left):
        logger.warning("%d calls of the modern era are cut off (drain_seconds)", node.open_calls.calls)
    if not await node.open_calls.wait_for_peers(node.settings.last_answers_seconds):
        logger.warning("requests that peers have not begun to answer are cut off (drain_seconds)")
    if not is_done:
        await _write_down(node, began + node.settings.most_drain_seconds, sleep)


async def _write_down(node: Node, give_up: float, sleep: Callable[[float], Awaitable[Any]]) -> None:
    """What clients may have missed is on record; a store that is silent is asked again, as long as there is time."""

    async def write_down() -> None:
        await node.streams.write_down(session.id for session in node.sessions.living())

    try:
        await ask_for(give_up - time.monotonic(), write_down, sleep=sleep)
    except StoreUnavailable as error:
        logger.warning("what clients may have missed is not on record: %s", error)
