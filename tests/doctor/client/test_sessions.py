from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from aiohttp import web

from tests.doctor.examined import examined
from tests.doctor.odd import Odd, refusal, running_odd
from tests.doctor.runs import run
from tests.doctor.serving import serving

Guard = Callable[[web.Request], web.Response | None]


def refusing(times: int, status: int) -> Guard:
    """So many DELETEs are refused, and the later ones are not."""
    left = iter(range(times))

    def guard(request: web.Request) -> web.Response | None:
        return refusal(status, "later") if request.method == "DELETE" and next(left, None) is not None else None

    return guard


@pytest.mark.parametrize("status", [429, 503])
async def test_a_delete_that_comes_too_soon_is_sent_again(status: int) -> None:
    async with running_odd(guard=refusing(3, status)) as odd, examined(odd.url, sessions=3) as exam:
        await exam.close()
        assert (odd.live, exam.sessions.left) == (set(), 0)


async def test_a_session_that_a_check_could_not_close_is_closed_in_the_end(quick_pace: None) -> None:
    async with running_odd(guard=refusing(4, 429)) as odd, examined(odd.url, sessions=3) as exam:
        assert (await exam.sessions.close(exam.sessions.opened[-1])).status == 429
        assert exam.sessions.left == 3
        await exam.close()
        assert (odd.live, exam.sessions.left) == (set(), 0)


async def test_a_session_whose_closing_was_interrupted_is_closed_in_the_end() -> None:
    odd, asked = Odd(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "DELETE" and not asked.is_set():
            asked.set()
            await asyncio.Event().wait()
        return await odd.answer(request)

    async with serving(answer) as url, examined(url, sessions=3) as exam:
        closing = asyncio.create_task(exam.sessions.close(exam.sessions.opened[-1]))
        await asked.wait()
        closing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await closing
        await exam.close()
        assert (odd.live, exam.sessions.left) == (set(), 0)


@pytest.mark.parametrize("status", [400, 403, 500, 501])
async def test_why_sessions_are_left_is_told(status: int, quick_pace: None) -> None:
    async with running_odd(delete_status=status) as odd:
        report = await run(odd.url, sessions=3, calls=1, only=frozenset({"affinity"}))
    assert (report.left, report.why_left) == (3, f"DELETE was answered with {status}")


async def test_a_server_without_a_route_for_delete_keeps_its_sessions() -> None:
    """Its 404 is Express's, and says nothing of a session."""

    def guard(request: web.Request) -> web.Response | None:
        return web.Response(status=404, text="Cannot DELETE /mcp") if request.method == "DELETE" else None

    async with running_odd(guard=guard) as odd:
        report = await run(odd.url, sessions=3, calls=1)
    assert len(odd.live) == 3
    assert (report.closed, report.left, report.why_left) == (0, 3, "DELETE was answered with 404")


async def test_a_node_that_refuses_tokens_now_and_then_does_not_keep_sessions_open() -> None:
    turn = iter(range(100))

    def guard(request: web.Request) -> web.Response | None:
        return refusal(403, "no") if request.method == "DELETE" and next(turn) % 3 else None

    async with running_odd(guard=guard) as odd:
        report = await run(odd.url, sessions=3, calls=1, only=frozenset({"affinity"}))
    assert (odd.live, report.left) == (set(), 0)
