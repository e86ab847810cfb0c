"""The node's end of all that goes between it and its peers through Redis: one reader, a table of exchanges, a tick.

the tick finds                                        and so
----------------------------------------------------  ------------------------------------------------------
one that we began, and nothing was said on for a      says SYNC, which is said back: a loss on the way shows
while; or we said nothing on, however much we hear    the same: its peer knows that it is not forgotten
one that a peer began, which is dead                  it breaks off; who asks a dead one sees that by itself
one that a peer began, and says nothing on any more   the same: it must have forgotten it
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

from mooring.core.frames import EXCHANGE_BYTES, UNNUMBERED, Frame, FrameSeals, Kind, Part, Role, begins
from mooring.core.sealing import NONCE_BYTES
from mooring.errors import SealBroken, StoreUnavailable
from mooring.node.links.redis_exchange import QUIET_SECONDS, Answer, Exchange
from mooring.node.links.redis_outbox import Outbox
from mooring.store.mailbox import Mailbox
from mooring.store.stopping import stopped

logger = logging.getLogger("mooring.forwarding")

MOST_ANSWERED: Final = 20_000
"""How many requests of peers may be here at the same time; more are refused, and nothing of them is carried out."""
_LONGEST_QUIET_SECONDS: Final = 60.0
"""Streams on which nothing is said for hours are many; each costs two frames in this time."""
_FORGOTTEN_SECONDS: Final = 3 * _LONGEST_QUIET_SECONDS
_TICK_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.2
_START_SECONDS: Final = 3.0
_DRAIN_SECONDS: Final = 5.0


class Relay:
    """
    Args:
        seals: of this node.
        is_dead: whether a node is known to be dead; one that has just joined may not be known at all.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        seals: FrameSeals,
        is_dead: Callable[[str], bool],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._mailbox = mailbox
        self._seals = seals
        self._is_dead = is_dead
        self._now = now
        self._sleep = sleep
        self._answer: Answer | None = None
        # By our role in them, and their ids; from `begin` or the peer's OPEN until they are over.
        self._exchanges: dict[tuple[Role, bytes], Exchange] = {}
        self._outboxes: dict[str, Outbox] = {}
        # What is carried out for peers, and of it what does not only listen.
        self._answering: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._is_open = asyncio.Event()
        self._is_draining = False
        self._was_warned = False

    async def start(self, answer: Answer) -> None:
        """Read one's mailbox from now on."""
        self._answer = answer
        self._tasks = [
            asyncio.create_task(self._keep_reading(), name="mooring mailbox"),
            asyncio.create_task(self._keep_ticking(), name="mooring relay tick"),
        ]
        opened = asyncio.create_task(self._is_open.wait())
        await asyncio.wait({opened}, timeout=_START_SECONDS)
        opened.cancel()

    async def drain(self) -> None:
        """Take nothing new, and wait for what peers have asked for."""
        self._is_draining = True
        working = {task for task in self._answering if task.get_name() != "GET"}
        if working:
            await asyncio.wait(working, timeout=_DRAIN_SECONDS)

    async def stop(self) -> None:
        """End what is left: peers hear that it broke off."""
        self._is_draining = True
        for exchange in list(self._exchanges.values()):
            exchange.break_off("this node stops")
            exchange.close(Part(Kind.LEAVE))
        await stopped(self._answering)
        for _ in range(20):
            if all(outbox.is_empty for outbox in self._outboxes.values()):
                break
            await asyncio.sleep(0.02)
        for outbox in self._outboxes.values():
            outbox.close()
        await stopped(self._tasks)
        await self._mailbox.aclose()

    def begin(self, peer_id: str) -> Exchange:
        """A new exchange, which a peer has to answer."""
        return self._add(secrets.token_bytes(EXCHANGE_BYTES), peer_id, Role.ASKS)

    def _add(self, exchange_id: bytes, peer_id: str, role: Role) -> Exchange:
        exchange = Exchange(exchange_id, peer_id, role, self._seals, self._outbox(peer_id), self._forget, self._now)
        self._exchanges[role, exchange_id] = exchange
        return exchange

    def _forget(self, exchange: Exchange) -> None:
        self._exchanges.pop((exchange.role, exchange.id), None)

    def _outbox(self, peer_id: str) -> Outbox:
        if peer_id not in self._outboxes:
            self._outboxes[peer_id] = Outbox(peer_id, self._mailbox, self._is_dead, self._sleep)
        return self._outboxes[peer_id]

    async def _keep_reading(self) -> None:
        is_away = False
        while True:
            try:
                async with aclosing(self._mailbox.read()) as batches:
                    async for batch in batches:
                        if is_away:
                            logger.info("what peers pass on through Redis arrives again")
                            self._hear_all_anew()
                        is_away = False
                        self._is_open.set()
                        await self._take_all(batch)
            except StoreUnavailable as error:
                if not is_away:
                    logger.warning("nothing arrives that peers pass on through Redis (peer_link): %s", error)
                is_away = True
            await self._sleep(_RETRY_SECONDS)

    async def _take_all(self, batch: list[bytes]) -> None:
        """What begins here is removed from the mailbox first: a peer that finds it there takes it for not begun."""
        may_begin = True
        if any(begins(data) for data in batch):
            try:
                await self._mailbox.keep_nothing()
            except StoreUnavailable:
                may_begin = False  # their peers hear that it is not known here, and ask again
        for data in batch:
            if may_begin or not begins(data):
                self._take(data)

    def _hear_all_anew(self) -> None:
        for exchange in self._exchanges.values():
            exchange.heard_at = self._now()
            exchange.quiet_seconds = QUIET_SECONDS

    def _take(self, data: bytes) -> None:
        try:
            frame = self._seals.open(data)
        except SealBroken as error:
            self._refuse(str(error))
            return
        exchange = self._exchanges.get((frame.role.other, frame.exchange))
        if exchange is not None:
            if exchange.peer_id == frame.sender:
                exchange.take(frame)
        elif frame.role is Role.ASKS and frame.number == 0 and frame.parts and frame.parts[0].kind is Kind.OPEN:
            self._accept(frame)
        elif frame.number != UNNUMBERED and frame.parts and frame.parts[-1].kind is not Kind.LEAVE:
            self._say_gone(frame)

    def _accept(self, frame: Frame) -> None:
        exchange = self._add(frame.exchange, frame.sender, Role.ANSWERS)
        exchange.take(frame)
        if self._answer is None or self._is_draining or len(self._answering) >= MOST_ANSWERED:
            exchange.close(Part(Kind.REFUSE))
            return
        task: asyncio.Task[None] = asyncio.ensure_future(self._answer(exchange))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _say_gone(self, frame: Frame) -> None:
        if not self._is_dead(frame.sender) and self._outbox(frame.sender).has_room:
            role, nonce = frame.role.other, secrets.token_bytes(NONCE_BYTES)
            parts = [Part(Kind.GONE)]
            self._outbox(frame.sender).put(
                self._seals.seal(role, frame.exchange, UNNUMBERED, frame.sender, parts, nonce)
            )

    def _refuse(self, why: str) -> None:
        level = logging.DEBUG if self._was_warned else logging.WARNING
        self._was_warned = True
        logger.log(level, "what lay in this node's mailbox was dropped: %s; who else writes there? (redis_url)", why)

    async def _keep_ticking(self) -> None:
        while True:
            await self._sleep(_TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """See the table above."""
        now = self._now()
        for exchange in list(self._exchanges.values()):
            if exchange.role is Role.ASKS:
                is_quiet = now - max(exchange.said_at, exchange.heard_at) >= exchange.quiet_seconds
                if (is_quiet or now - exchange.said_at >= _LONGEST_QUIET_SECONDS) and not exchange.has_unsent:
                    exchange.say(Part(Kind.SYNC))
                    exchange.quiet_seconds = min(2 * exchange.quiet_seconds, _LONGEST_QUIET_SECONDS)
            elif self._is_dead(exchange.peer_id):
                exchange.break_off(f"node {exchange.peer_id} died")
            elif now - exchange.heard_at >= _FORGOTTEN_SECONDS:
                exchange.break_off(f"node {exchange.peer_id} says nothing on it any more")
        for peer_id, outbox in list(self._outboxes.items()):
            if outbox.is_empty and self._is_dead(peer_id):
                del self._outboxes[peer_id]
