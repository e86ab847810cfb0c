"""What is cut off here, what its server cancels, and both at once."""

from __future__ import annotations

import asyncio

import pytest

from mooring.node.requests.cutting import CutOff


async def _serve_until_cancelled(begun: asyncio.Event, fails_with: Exception | None = None) -> str:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if fails_with is None:
            raise
        raise fails_with from None
    return "never"


async def test_what_is_done_is_returned() -> None:
    cut = CutOff()
    assert await cut.serve(asyncio.sleep(0, "done")) == "done"
    assert not cut.has_come


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fails_with", [None, ValueError("the app misses its client")])
async def test_however_often_it_is_cut_off_whoever_serves_it_goes_on(times: int, fails_with: Exception | None) -> None:
    cut, begun = CutOff(), asyncio.Event()
    task = asyncio.create_task(cut.serve(_serve_until_cancelled(begun, fails_with)))
    await begun.wait()
    for _ in range(times):
        cut.cut()
    assert await task is None
    assert cut.has_come
    assert task.cancelling() == 0


async def test_an_app_that_is_done_before_its_cancellation_comes_is_cut_off_all_the_same() -> None:
    cut = CutOff()

    async def cut_at_the_end() -> str:
        cut.cut()
        return "too late"

    assert await asyncio.create_task(cut.serve(cut_at_the_end())) is None


@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_a_server_that_cancels_it_is_heard(is_cut_off: bool) -> None:
    cut, begun = CutOff(), asyncio.Event()
    task = asyncio.create_task(cut.serve(_serve_until_cancelled(begun)))
    await begun.wait()
    if is_cut_off:
        cut.cut()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_fails_by_itself_fails() -> None:
    async def fail() -> None:
        raise ValueError("the app's own")

    with pytest.raises(ValueError, match="the app's own"):
        await CutOff().serve(fail())
