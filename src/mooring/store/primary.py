"""Which server the sentinels call the primary, asked while the connections to it are well.

Sentinels take up to ten seconds to tell an old primary that it is none any more, by request or when it comes back.
Until then it answers whoever is still connected, and forgets all that it was told. Leases end sooner than that on the
new one, where nobody renews them: a node that starts there would take the living for dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.sentinel import SentinelConnectionPool

from mooring.store.trouble import RAISED
from mooring.store.watching import Watching


class PrimaryWatch(Watching):
    """Asks sentinels in the background. For all other kinds of Redis it does nothing.

    Args:
        clients: redis-py's, of the same `redis_url`.
        on_move: called where one of them is connected to a server that is not the primary, and where another server
            is the primary than the last time: it may lack what the one before was told last.
    """

    _NAME = "mooring sentinels"

    def __init__(
        self, clients: Sequence[Any], on_move: Callable[[], None], now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(now)
        pools = [getattr(client, "connection_pool", None) for client in clients]
        self._pools = [pool for pool in pools if isinstance(pool, SentinelConnectionPool)]
        self._on_move = on_move
        # As the sentinels said last.
        self._known: Any = None

    @property
    def _has_whom_to_ask(self) -> bool:
        return bool(self._pools)

    async def aclose(self) -> None:
        await super().aclose()
        for pool in self._pools:
            for sentinel in pool.sentinel_manager.sentinels:
                await sentinel.aclose()

    async def _ask(self) -> None:
        pool = self._pools[0]
        try:
            primary = await pool.sentinel_manager.discover_master(pool.service_name)
        except RAISED:
            return  # whoever has to connect next says so
        known, self._known = self._known, primary
        if known not in (None, primary) or any(pool.master_address not in (None, primary) for pool in self._pools):
            self._on_move()
