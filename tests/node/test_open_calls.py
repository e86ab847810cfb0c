"""What a node waits for before it ends, and what it ends."""

from __future__ import annotations

import asyncio

import pytest

from mooring.node import open_calls
from mooring.node.open_calls import OpenCalls


async def test_it_waits_for_every_call_and_no_longer_than_it_may() -> None:
    calls = OpenCalls()
    assert await calls.wait(0)
    with calls.call():
        with calls.call():
            assert calls.calls == 2
        assert not await calls.wait(0)
        assert not await calls.wait(-1)
        waiting = asyncio.create_task(calls.wait(10))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting
    assert calls.calls == 0


async def test_a_call_that_fails_is_over_too() -> None:
    calls = OpenCalls()
    with pytest.raises(ValueError, match="failed"), calls.call():
        raise ValueError("failed")
    assert await calls.wait(0)


async def test_it_waits_for_what_peers_have_not_begun_to_answer() -> None:
    calls = OpenCalls()
    first, second = calls.passed_on(), calls.passed_on()
    assert not await calls.wait_for_peers(0)
    first.is_over()
    first.is_over()
    assert not await calls.wait_for_peers(0)
    waiting = asyncio.create_task(calls.wait_for_peers(10))
    second.is_over()
    assert await waiting
    assert calls.calls == 0


async def test_each_subscription_is_ended_whatever_becomes_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_calls, "_END_SECONDS", 0.01)
    calls, ended = OpenCalls(), []

    async def fails() -> None:
        raise ConnectionError

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def ends() -> None:
        ended.append(True)

    with calls.subscription(fails), calls.subscription(hangs), calls.subscription(ends), calls.subscription(ends):
        assert calls.subscriptions == 4
        await calls.end_subscriptions()
    assert ended == [True, True]
    assert calls.subscriptions == 0
    await calls.end_subscriptions()
    assert ended == [True, True]
