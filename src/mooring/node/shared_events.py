"""Changes that happen on one node, told to the listeners of all.

A change reaches the listeners of its own node at once, whatever becomes of Redis. For the other nodes it waits in a
queue, so that no tool call waits for Redis. What was said while a node did not hear is not said again. Instead, once it
hears again, its listeners are told that every list may have changed. Updates of single resources in that time are lost
to them, since nobody here knows which resources they listen for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from itertools import islice
from typing import Any, Final

from mooring.core.server_events import LISTS, Announcement, ServerEvent, seal, unseal
from mooring.core.signing import NonceWindow
from mooring.errors import RequestSeen, SignatureError, StoreUnavailable
from mooring.node.subscription_buses import SharedBus, give_back, take_buses
from mooring.store.channel import Channel
from mooring.store.stopping import stopped

logger = logging.getLogger("mooring.changes")

QUEUE_LIMIT: Final = 1000
"""Changes that wait for Redis; those that say the same are one, once it is away."""
RETRY_SECONDS: Final = 1.0
_BATCH: Final = 100
_START_SECONDS: Final = 3.0
"""How long a node that starts waits until it hears the others; later it goes on without."""
_STOP_SECONDS: Final = 1.0


class SharedEvents:
    """
    Args:
        channel: None where no other node could hear.
        key: signs what nodes say.
        max_age_ms: of a message.
        now: seconds since the epoch, by the one clock of all nodes.
    """

    def __init__(
        self,
        channel: Channel | None,
        key: bytes,
        node_id: str,
        max_age_ms: int,
        *,
        now: Callable[[], float],
        older_keys: Sequence[bytes] = (),
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._channel = channel
        self._key = key
        self._older_keys = older_keys
        self._node_id = node_id
        self._seen = NonceWindow(max_age_ms)
        self._now = now
        self._sleep = sleep
        self._buses: list[SharedBus] = []
        # By nonce, in the order in which they happened: what the others were not told yet.
        self._queue: dict[str, ServerEvent] = {}
        # Of those that had no place there, while Redis was away.
        self._lost = 0
        self._is_due = asyncio.Event()
        # Whether Redis has let us hear, or has refused, since the start.
        self._has_tried = asyncio.Event()
        # Whether something may have been said that was not heard.
        self._may_have_missed = False
        self._telling, self._hearing = _Standing("tell other nodes of"), _Standing("hear of other nodes'")
        self._was_warned_of_refusal = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Share the changes of the servers that were named so far, if there are any."""
        if self._channel is None:
            return
        self._buses = take_buses()
        if not self._buses:
            return
        for bus in self._buses:
            bus.connect(self.tell)
        loops = (self._keep_telling(self._channel), self._keep_hearing(self._channel))
        self._tasks = [asyncio.create_task(loop, name="mooring changes") for loop in loops]
        tried = asyncio.create_task(self._has_tried.wait())
        await asyncio.wait({tried}, timeout=_START_SECONDS)  # whoever listens from now on misses nothing
        self._may_have_missed |= not self._has_tried.is_set()  # until it hears
        tried.cancel()

    async def stop(self) -> None:
        """Say what is left to say, if Redis takes it."""
        if self._channel is None:
            return
        await stopped(self._tasks)
        give_back(self._buses)
        if self._tasks:
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._say_all(self._channel)
            except (StoreUnavailable, TimeoutError):
                logger.warning(
                    "%s changes were not told to other nodes before this one stopped: see whether Redis is slow",
                    len(self._queue),
                )
        await self._channel.aclose()

    def tell(self, event: ServerEvent) -> None:
        """Of a change that happened here. Returns at once."""
        if len(self._queue) >= QUEUE_LIMIT:
            self._condense()
        if len(self._queue) >= QUEUE_LIMIT:
            del self._queue[next(iter(self._queue))]
            self._lost += 1
        self._queue[secrets.token_urlsafe(16)] = event
        self._is_due.set()

    async def _keep_telling(self, channel: Channel) -> None:
        while True:
            await self._is_due.wait()
            try:
                await self._say_all(channel)
            except StoreUnavailable as error:
                self._telling.fails(error)
                self._condense()
                await self._sleep(_soon())
            else:
                self._telling.works()
                self._say_what_is_lost()
            if not self._queue:
                self._is_due.clear()

    def _say_what_is_lost(self) -> None:
        if self._lost:
            logger.warning(
                "%s changes are not told to other nodes: more than %s waited; see whether Redis is slow",
                self._lost,
                QUEUE_LIMIT,
            )
        self._lost = 0

    async def _say_all(self, channel: Channel) -> None:
        """
        Raises:
            StoreUnavailable: some of it may not have been heard, and waits on.
        """
        while self._queue:
            batch = dict(islice(self._queue.items(), _BATCH))
            messages = {nonce: self._sealed(nonce, event) for nonce, event in batch.items()}
            says = [channel.say(message) for message in messages.values() if message is not None]
            outcomes = iter(await asyncio.gather(*says, return_exceptions=True))
            failed: BaseException | None = None
            for nonce, message in messages.items():
                outcome = next(outcomes) if message is not None else None
                if outcome is None:
                    self._queue.pop(nonce, None)
                failed = failed or outcome
            if failed is not None:
                raise failed

    def _sealed(self, nonce: str, event: ServerEvent) -> bytes | None:
        try:
            return seal(self._key, Announcement(self._node_id, nonce, self._now_ms(), event))
        except ValueError as error:
            logger.warning("a change is not told to other nodes: its URI has %s letters; %s", len(event.uri), error)
            return None

    def _condense(self) -> None:
        """Those that say the same say it once."""
        self._queue = {nonce: event for event, nonce in {e: n for n, e in self._queue.items()}.items()}

    async def _keep_hearing(self, channel: Channel) -> None:
        while True:
            try:
                async with aclosing(channel.hear()) as messages:
                    async for message in messages:
                        await (self._begin_to_hear() if message is None else self._hear(message))
            except StoreUnavailable as error:
                self._hearing.fails(error)
            self._may_have_missed = True
            self._has_tried.set()
            await self._sleep(_soon())

    async def _begin_to_hear(self) -> None:
        if self._may_have_missed:
            for bus in self._buses:
                for kind in LISTS:
                    await bus.deliver(ServerEvent(bus.server, kind))
        self._may_have_missed = True  # if it begins again
        self._hearing.works()
        self._has_tried.set()

    def _unseal(self, message: bytes) -> Announcement:
        for key in self._older_keys:
            with contextlib.suppress(SignatureError):
                return unseal(key, message)
        return unseal(self._key, message)

    async def _hear(self, message: bytes) -> None:
        try:
            announcement = self._unseal(message)
            if announcement.sender == self._node_id:
                return  # its listeners here heard of it when it happened
            self._seen.accept(announcement, self._now_ms(), round(time.monotonic() * 1000))
        except RequestSeen:
            return  # said again, because Redis did not answer the first time
        except SignatureError as error:
            self._refuse(error)
            return
        for bus in self._buses:
            if bus.server == announcement.event.server:
                await bus.deliver(announcement.event)

    def _refuse(self, error: SignatureError) -> None:
        level = logging.DEBUG if self._was_warned_of_refusal else logging.WARNING
        self._was_warned_of_refusal = True
        logger.log(level, "what Redis passed on as another node's change was refused: %s", error)

    def _now_ms(self) -> int:
        return round(self._now() * 1000)


class _Standing:
    """Says once that something does not work, and once that it does again."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._fails = False

    def fails(self, error: StoreUnavailable) -> None:
        if not self._fails:
            logger.warning("clients on this node go on, but it cannot %s changes: %s", self._what, error)
        self._fails = True

    def works(self) -> None:
        if self._fails:
            logger.info("this node can %s changes again; where any was missed, listeners are told to look", self._what)
        self._fails = False


def _soon() -> float:
    """Not all nodes at the same moment."""
    return RETRY_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - no secret is made of it
