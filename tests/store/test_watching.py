"""What is asked beside all else: when, how often, and until when."""

from __future__ import annotations

import asyncio

from mooring.store.watching import Watching
from tests.fakes import Clock


class Watched(Watching):
    _NAME = "a watch"

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.has_whom = True
        self.asked = 0
        self.answer = asyncio.Event()

    @property
    def _has_whom_to_ask(self) -> bool:
        return self.has_whom

    async def _ask(self) -> None:
        self.asked += 1
        await self.answer.wait()


async def test_it_asks_once_a_second_one_question_at_a_time_and_nobody_waits() -> None:
    watch = Watched(clock := Clock())
    for _ in range(5):
        watch.glance()
        clock.now += 1
        await asyncio.sleep(0)
    assert watch.asked == 1, "the first one has no answer yet"
    watch.answer.set()
    for _ in range(4):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        watch.glance()
        clock.now += 0.25
    await asyncio.sleep(0)
    assert watch.asked == 2


async def test_where_there_is_nobody_to_ask_it_asks_nothing() -> None:
    watch = Watched(Clock())
    watch.has_whom = False
    watch.glance()
    await asyncio.sleep(0)
    assert watch.asked == 0


async def test_once_it_is_closed_no_question_goes_on() -> None:
    watch = Watched(Clock())
    watch.glance()
    await asyncio.sleep(0)
    await watch.aclose()
    assert watch._asking is None
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await watch.aclose()
