"""A store that is silent for a moment costs whoever asks it time, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from mooring.errors import StoreUnavailable

_T = TypeVar("_T")

_AGAIN_SECONDS: Final = 0.2


async def ask_for(
    seconds: float,
    ask: Callable[[], Awaitable[_T]],
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> _T:
    """Its answer, for which it is asked again where it gives none, at most this long.

    Args:
        ask: asks the store, as often as it is called.
        now: seconds, by a clock that does not go back.

    Raises:
        StoreUnavailable: it did not answer in that time.
    """
    give_up = now() + seconds
    while True:
        try:
            return await ask()
        except StoreUnavailable:
            if now() + _AGAIN_SECONDS > give_up:
                raise
        await sleep(_AGAIN_SECONDS)
