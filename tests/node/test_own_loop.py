"""What authors' threads change of a node is changed in its event loop."""

from __future__ import annotations

import asyncio
import threading

from mooring.node.own_loop import OwnLoop


def test_before_the_node_has_started_all_is_done_at_once() -> None:
    loop, done = OwnLoop(), [0]
    loop.do(lambda: done.append(1))
    assert loop.ask(lambda: sum(done)) == 1


async def test_within_the_loop_all_is_done_at_once() -> None:
    loop, done = OwnLoop(), [0]
    loop.is_this_one()
    loop.do(lambda: done.append(1))
    assert loop.ask(lambda: sum(done)) == 1


async def test_what_a_thread_wants_is_done_in_the_loop() -> None:
    loop, where = OwnLoop(), []
    loop.is_this_one()

    def in_thread() -> str:
        loop.do(lambda: where.append(threading.current_thread()))
        return loop.ask(lambda: threading.current_thread().name)

    assert await asyncio.to_thread(in_thread) == threading.current_thread().name
    assert where == [threading.current_thread()]
