"""Ending tasks reliably."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.5


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel these and wait until they are over, whatever they end with.

    One that goes on is cancelled again: `asyncio.wait_for` of Python 3.11, which the Redis client uses, forgets a
    cancellation that comes just as what it waits for is done.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
