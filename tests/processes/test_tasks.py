from __future__ import annotations

import asyncio

import pytest

from mooring.processes import tasks as ending
from mooring.processes.tasks import end


async def deaf(times: int) -> None:
    """Forgets that many cancellations."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
    await asyncio.Event().wait()


async def fail() -> None:
    raise ValueError


async def test_ends_what_does_not_hear_at_once_and_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_AGAIN_SECONDS", 0.01)
    tasks = [asyncio.ensure_future(one) for one in (deaf(0), deaf(1), fail(), asyncio.sleep(0))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end(*tasks)
    assert all(task.done() for task in tasks)


async def test_none() -> None:
    await end()
