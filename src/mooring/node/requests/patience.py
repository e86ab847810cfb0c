"""What is asked of the store for a request is asked again while it does not answer: one that is silent for a moment
costs the request time, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from mooring.errors import StoreUnavailable
from mooring.node.node import Node

_T = TypeVar("_T")

_AGAIN_SECONDS: Final = 0.2


async def patiently(node: Node, ask: Callable[[], Awaitable[_T]]) -> _T:
    """Its answer, for which a request waits as long as it may be held (`hold_seconds`).

    Args:
        ask: asks the store, as often as it is called.

    Raises:
        StoreUnavailable: it did not answer in that time.
    """
    give_up = time.monotonic() + node.settings.hold_seconds
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            if time.monotonic() + _AGAIN_SECONDS > give_up:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)
