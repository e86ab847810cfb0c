"""Ending tasks that talk to Redis: redis-py swallows a cancellation now and then, as while it connects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

_AGAIN_SECONDS: Final = 0.1
_TIMES: Final = 50


async def stopped(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel them until they have ended, for 5 s at most."""
    waiting = set(tasks)
    for _ in range(_TIMES):
        for task in waiting:
            task.cancel()
        if waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_AGAIN_SECONDS)
        if not waiting:
            return
