"""What a node does when an operator tells it to, or a peer is added."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from mooring.errors import StoreUnavailable
from mooring.node.moving.draining import Drain
from mooring.node.moving.handing_over import remove_old_dumps
from mooring.node.moving.rebalancing import rebalance
from mooring.node.node import Node

logger = logging.getLogger("mooring.moving")

SETTLE_SECONDS: Final = 5.0
"""After a peer was added: others may follow, and all have to know how full each is."""

_ROUNDS: Final = 3
"""How often a node tries to give something to a new peer: what was busy in one may not be so in the next."""


class Order(enum.StrEnum):
    """A word of the operator's for one node."""

    DRAIN = "drain"
    REBALANCE = "rebalance"


class Moves:
    """Those of one node.

    Args:
        sleep: for tests.
        now: seconds, by a steady clock.
    """

    def __init__(
        self,
        node: Node,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._sleep = sleep
        self._now = now
        # The peers that were there at the last look; None before the first.
        self._peers: set[str] | None = None
        # When something is to be given to peers that are new.
        self._due: list[float] = []

    async def run(self) -> None:
        """Do what is asked, until cancelled."""
        while True:
            await self._sleep(self._node.settings.heartbeat_seconds)
            try:
                await self._look()
            except StoreUnavailable as error:
                logger.debug("the store does not say whether anything has to move: %s", error)
            except Exception:
                logger.exception("sessions could not be moved; what is asked next is done all the same")

    async def _look(self) -> None:
        await remove_old_dumps(self._node)
        if self._node.is_ending:
            return
        word = await self._word()
        if word == Order.DRAIN:
            if await Drain(self._node).run():
                await self._sleep(self._node.settings.ingress_seconds)
                await self._node.open_calls.end_subscriptions()
        elif word == Order.REBALANCE:
            self._due.insert(0, self._now())
        elif word:
            logger.warning("was told something that this version does not know: see `mooring --version` of who said it")
        elif self._has_new_peer() and self._node.settings.rebalance == "idle_sessions":
            now = self._now()
            self._due = [now + (1 + number) * SETTLE_SECONDS for number in range(_ROUNDS)]
        if self._due and self._due[0] <= self._now():
            await self._rebalance(self._due.pop(0))

    async def _rebalance(self, due: float) -> None:
        try:
            await rebalance(self._node)
        except StoreUnavailable:
            self._due.insert(0, due)
            raise

    async def _word(self) -> str:
        """The operator's for this node, "" where there is none. Where it cannot be forgotten it is heard again, which
        does no harm."""
        word = await self._node.store.order_for(self._node.id)
        if word:
            with suppress(StoreUnavailable):
                await self._node.store.heard_order(self._node.id, word)
        return word

    def _has_new_peer(self) -> bool:
        before, self._peers = self._peers, {info.id for info in self._node.membership.view.takers()}
        return before is not None and bool(self._peers - before - {self._node.id})
