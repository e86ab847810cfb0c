"""The lease of a node whose event loop is busy: a tool that blocks it for ten seconds is no death.

The heartbeat runs in the event loop, as everything else of a node does, so it stops while something blocks the loop. A
thread, with a connection of its own, then lengthens the lease. It does nothing else, and nothing while the heart beats.

    the loop has been silent for      the thread
    --------------------------------  ------------------------------------------------------------
    less than one and a half beats    does nothing
    up to `hang_seconds`              lengthens the lease, unless it is over: somebody may count on that by then
    longer                            lets it end: the node hangs, and holds up all who want its sessions

When the loop goes on, the node asks the store before it serves anything (`LeaseKeeper.regain`), since by its own clock
the lease was over. A process that was stopped has no thread that runs either, so its lease ends.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mooring.errors import StoreUnavailable
from mooring.node.membership.lease import steady_seconds
from mooring.store.base import Store

logger = logging.getLogger("mooring.lease")

_LATE_BEATS: Final = 1.5
_STOP_SECONDS: Final = 5.0


class Pulse:
    """Keeps one node's lease while its event loop is silent.

    Args:
        open_store: a store for the thread alone.
        now: seconds, by a clock that does not stop while the process does.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        node_id: str,
        *,
        heartbeat_seconds: float,
        lease_seconds: float,
        hang_seconds: float,
        now: Callable[[], float] = steady_seconds,
    ) -> None:
        self._open_store = open_store
        self._node_id = node_id
        self._heartbeat_seconds = heartbeat_seconds
        self._lease_seconds = lease_seconds
        self._hang_seconds = hang_seconds
        self._now = now
        # When the heart last beat, and which renewal it was. Replaced by the loop, read by the thread.
        self._last_beat = (now(), 0)
        # Whether the silence that goes on now was told of.
        self._is_told = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Set once the thread has its loop.
        self._has_begun = threading.Event()
        self._stopping = asyncio.Event()

    def beat(self, renewed_ms: int) -> None:
        """The heart beats; this is its last renewal, as the store said."""
        self._last_beat = (self._now(), renewed_ms)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._main, name="mooring pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns once the thread has ended, so that it lengthens nothing after a goodbye."""
        if self._thread is None:
            return
        self._has_begun.wait(_STOP_SECONDS)
        with suppress(RuntimeError):  # it has ended by itself
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_SECONDS)

    def _main(self) -> None:
        with asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            self._has_begun.set()
            runner.run(self._watch())

    async def _watch(self) -> None:
        store = self._open_store()
        try:
            while not self._stopping.is_set():
                await self.look(store)
                try:
                    async with asyncio.timeout(self._heartbeat_seconds / 2):
                        await self._stopping.wait()
                except TimeoutError:
                    pass
        finally:
            await store.aclose()

    async def look(self, store: Store) -> None:
        """Lengthen the lease if that is due."""
        beat, renewed_ms = self._last_beat
        silent_seconds = self._now() - beat
        if silent_seconds < _LATE_BEATS * self._heartbeat_seconds:
            self._is_told = False
            return
        if silent_seconds > self._hang_seconds:
            self._tell("the event loop has been silent for %.1f s (hang_seconds): the lease is let go", silent_seconds)
            return
        try:
            await store.extend(self._node_id, renewed_ms, self._lease_seconds)
        except StoreUnavailable as error:
            logger.debug("the lease could not be lengthened: %s", error)

    def _tell(self, text: str, *values: object) -> None:
        if not self._is_told:
            logger.error(text, *values)
        self._is_told = True
