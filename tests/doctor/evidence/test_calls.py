"""The calls in every session, what is seen through, and what stops them."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Outcome
from mooring.doctor.client.ways import WAYS
from mooring.doctor.evidence import calls as module
from mooring.doctor.evidence.calls import calls_in_turn, make_calls, see_through_disguise
from tests.doctor.examined import examined
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import Odd, running_odd
from tests.doctor.serving import serving


async def test_every_session_calls_in_each_way() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=4, calls=3) as exam:
        await make_calls(exam)
        assert len(exam.calls) == 4 * 3 * len(WAYS)
        assert {call.reply.outcome for call in exam.calls} == {Outcome.REACHED}
        assert await calls_in_turn(exam) == [False] * 12
        assert exam.no_calls == ""


async def test_where_calls_open_sessions_they_stop() -> None:
    odd = Odd()

    async def dropping(request: web.Request) -> web.StreamResponse:
        """Every call opens a session, as where its id was dropped on the way."""
        if request.method == "POST" and (await request.json())["method"] in ("ping", "notifications/initialized"):
            return web.Response(status=400, headers={SESSION: odd.mint()})
        return await odd.answer(request)

    async with serving(dropping) as url, examined(url, sessions=20) as exam:
        assert exam.wire.is_halted
        await make_calls(exam)
        assert exam.no_calls == "calls open new sessions here"
        assert exam.sessions.count <= 4


async def test_a_refusal_in_disguise_is_seen_through() -> None:
    turn = iter(range(10_000))

    def guard(request: web.Request) -> web.Response | None:
        """Every other call meets a node that does not know its session; a proxy makes a page of its answer."""
        if request.headers.get(SESSION) is None:
            return None
        is_known = request.headers[SESSION] in odd.live
        if is_known and next(turn) % 2 == 0:
            return None
        return web.Response(status=502, text="<html>oops</html>", content_type="text/html")

    async with running_odd() as odd:
        odd.guard = guard
        async with examined(odd.url, sessions=3, calls=4) as exam:
            await make_calls(exam)
            assert Outcome.UNAVAILABLE in {call.reply.outcome for call in exam.calls}
            await see_through_disguise(exam)
            assert {call.reply.outcome for call in exam.calls} == {Outcome.REACHED, Outcome.LOST}
            assert exam.wire.looks_lost


async def test_calls_that_hang_end_soon() -> None:
    async with (
        running_ledger(hangs_on=frozenset({"ping"})) as ledger,
        examined(ledger.url, sessions=2, timeout_seconds=0.2) as exam,
    ):
        await make_calls(exam)
        assert exam.no_calls == "calls hang here"


async def test_calls_that_fail_after_long_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONG_SECONDS", 0.2)
    odd, turn = Odd(), iter(range(10_000))

    async def every_second_node_is_dead(request: web.Request) -> web.StreamResponse:
        is_ping = request.method == "POST" and (await request.json())["method"] == "ping"
        if is_ping and next(turn) % 2:
            await asyncio.sleep(0.3)
            return web.Response(status=502)
        return await odd.answer(request)

    async with serving(every_second_node_is_dead) as url, examined(url, sessions=2, calls=12) as exam:
        await make_calls(exam)
        failed = [(call.session.id, call.way) for call in exam.calls if call.reply.outcome is Outcome.UNAVAILABLE]
        assert len(failed) <= len(set(failed)) + 2, "but for the last look at the first connection"
        assert 6 <= len(await calls_in_turn(exam)) < 12, "it is regular"
