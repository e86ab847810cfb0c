"""Waiting for a condition, with a deadline, in place of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

_T = TypeVar("_T")


async def until(condition: Callable[[], Awaitable[_T]], *, what: str, seconds: float = 120.0) -> _T:
    """The first true value of `condition`, asked every few milliseconds; fails when `seconds` are over."""
    deadline = time.monotonic() + seconds
    while True:
        value = await condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {what}; last seen: {value!r}")
        await asyncio.sleep(0.02)
