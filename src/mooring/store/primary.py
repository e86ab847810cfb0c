"""Which server the sentinels call the primary, asked while the connections to it are well.

Sentinels take up to ten seconds to tell an old primary that it is none any more, by request or when it comes back.
Until then it answers whoever is still connected, and forgets all that it was told. Leases end sooner than that on the
new one, where nobody renews them: a node that starts there would take the living for dead.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio.sentinel import SentinelConnectionPool

from mooring.store.trouble import RAISED

_EVERY_SECONDS: Final = 1.0


class PrimaryWatch:
    """Asks sentinels in the background, at most once a second. For all other kinds of Redis it does nothing.

    Args:
        clients: redis-py's, of the same `redis_url`.
        on_move: called where one of them is connected to a server that is not the primary.
    """

    def __init__(
        self, clients: Sequence[Any], on_move: Callable[[], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        pools = [getattr(client, "connection_pool", None) for client in clients]
        self._pools = [pool for pool in pools if isinstance(pool, SentinelConnectionPool)]
        self._on_move = on_move
        self._now = now
        self._due = 0.0
        # While they are asked; one that is frozen takes its time.
        self._asking: asyncio.Task[None] | None = None

    def glance(self) -> None:
        """Ask, if that is due. Nobody waits for it."""
        if self._pools and self._asking is None and self._now() >= self._due:
            self._due = self._now() + _EVERY_SECONDS
            self._asking = asyncio.create_task(self._ask(self._pools[0]), name="mooring sentinels")

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
        for pool in self._pools:
            for sentinel in pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    async def _ask(self, pool: SentinelConnectionPool) -> None:
        try:
            primary = await pool.sentinel_manager.discover_master(pool.service_name)
        except RAISED:
            return  # whoever has to connect next says so
        finally:
            self._asking = None
        if any(other.master_address not in (None, primary) for other in self._pools):
            self._on_move()
