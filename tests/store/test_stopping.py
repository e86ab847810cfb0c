"""A task ends though it swallows cancellations; one that never ends holds nobody up for ever."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mooring.store import stopping
from mooring.store.stopping import stopped


async def stubborn(times: int) -> None:
    for _ in range(times):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def test_one_that_swallows_cancellations_is_cancelled_again() -> None:
    tasks = [asyncio.create_task(stubborn(times)) for times in (0, 1, 3)]
    await asyncio.sleep(0)
    await stopped(tasks)
    assert all(task.done() for task in tasks)
    await stopped(tasks)
    await stopped([])


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_AGAIN_SECONDS", 0.001)
    task = asyncio.create_task(stubborn(100))
    await asyncio.sleep(0)
    await stopped([task])
    assert not task.done()
    await stopped([task])
    await stopped([task])
    assert task.done()
