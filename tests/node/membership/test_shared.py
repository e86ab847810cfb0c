from __future__ import annotations

import asyncio

import pytest

from mooring.node.membership.shared import Shared


class Calls:
    """Each call takes the next number, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Semaphore(0)
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.acquire()
        if self.error is not None:
            raise self.error
        return number


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_ask_meanwhile_share_the_next_call() -> None:
    calls = Calls()
    shared = Shared(calls)
    first = asyncio.ensure_future(shared())
    await settled()
    later = [asyncio.ensure_future(shared()) for _ in range(100)]
    await settled()
    assert calls.begun == 1
    calls.may_end.release()
    assert await first == 1
    await settled()
    assert calls.begun == 2
    calls.may_end.release()
    assert await asyncio.gather(*later) == [2] * 100


async def test_who_joins_shares_the_call_that_is_under_way_or_begins_one() -> None:
    calls = Calls()
    shared = Shared(calls)
    first = asyncio.ensure_future(shared())
    await settled()
    joined = [asyncio.ensure_future(shared.join()) for _ in range(10)]
    await settled()
    calls.may_end.release()
    assert await asyncio.gather(first, *joined) == [1] * 11
    calls.may_end.release()
    assert await shared.join() == 2


async def test_no_result_is_older_than_the_asking() -> None:
    calls = Calls()
    shared = Shared(calls)
    results = []
    for number in range(1, 6):
        asking = asyncio.ensure_future(shared())
        calls.may_end.release()
        results.append(await asking)
        assert results[-1] == number


async def test_one_that_leaves_takes_nothing_from_the_others() -> None:
    calls = Calls()
    shared = Shared(calls)
    leaving, staying = asyncio.ensure_future(shared()), asyncio.ensure_future(shared())
    await settled()
    leaving.cancel()
    calls.may_end.release()
    calls.may_end.release()
    assert await staying == 2
    assert leaving.cancelled()


async def test_a_failure_is_everyones_and_the_next_call_is_a_new_one() -> None:
    calls = Calls()
    shared = Shared(calls)
    calls.error = ZeroDivisionError()
    calls.may_end.release()
    with pytest.raises(ZeroDivisionError):
        await shared()
    calls.error = None
    calls.may_end.release()
    assert await shared() == 2


@pytest.mark.parametrize("at_once", [False, True], ids=["in the turn in which it ends", "as it ends"])
async def test_one_call_at_a_time_whoever_asks_just_as_one_ends(at_once: bool) -> None:
    running, most = 0, 0

    async def call() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    shared = Shared(call)

    async def ask_again_and_again() -> None:
        for _ in range(5):
            await shared()
            if not at_once:
                await asyncio.sleep(0)

    await asyncio.gather(ask_again_and_again(), ask_again_and_again(), ask_again_and_again())
    assert most == 1
