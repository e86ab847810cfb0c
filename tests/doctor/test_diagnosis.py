"""What a whole run leaves behind, whatever it meets: never more sessions than asked, and none of them open."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from aiohttp import web
from yarl import URL

from mooring.doctor.client.protocol import SESSION
from mooring.doctor.diagnosis import diagnose
from mooring.doctor.findings import Verdict
from mooring.doctor.plan import Plan
from mooring.doctor.report import Outlook
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import running_odd
from tests.doctor.runs import Notes, finding, problems, run
from tests.waiting import until

READING = {"initialize", "notifications/initialized", "server/discover", "ping", "DELETE", "tools/list"}


@pytest.mark.parametrize("sessions", [2, 5, 20])
@pytest.mark.parametrize("mints_always", [False, True])
async def test_no_more_sessions_than_asked_and_all_are_closed(sessions: int, mints_always: bool) -> None:
    async with running_ledger(mints_always=mints_always) as ledger:
        report = await run(ledger.url, sessions=sessions, calls=2)
    assert len(ledger.opened) <= sessions
    assert ledger.live == set()
    assert (report.sessions, report.closed, report.left) == (len(ledger.opened), len(ledger.opened), 0)


async def test_sessions_are_closed_where_nothing_leads_to_their_node() -> None:
    async with running_ledger(lost_share=3) as ledger:
        report = await run(ledger.url, sessions=6, calls=3, only=frozenset({"affinity"}))
    assert finding(report, "affinity").verdict is Verdict.BROKEN
    assert ledger.live == set()
    assert report.left == 0


async def test_what_cannot_be_closed_is_told() -> None:
    async with running_ledger(hangs_on=frozenset({"DELETE"})) as ledger:
        report = await run(ledger.url, sessions=3, calls=1, only=frozenset({"affinity"}), timeout_seconds=0.3)
    assert len(ledger.live) == report.left == 3
    assert report.closed == 0


async def test_a_server_that_lets_nobody_delete_is_left_to_itself() -> None:
    async with running_ledger(allows_delete=False) as ledger:
        report = await run(ledger.url, sessions=3, calls=1, only=frozenset({"affinity"}))
    assert (report.closed, report.left) == (3, 0)


@pytest.mark.parametrize("after", ["initialize", "ping", "GET"])
async def test_an_interrupted_run_closes_its_sessions(after: str) -> None:
    async with running_ledger() as ledger:
        task = asyncio.create_task(diagnose(Plan(URL(ledger.url), sessions=10, calls=1000), Notes()))

        async def came() -> bool:
            return after in ledger.methods

        await until(came, what=f"a {after}")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ledger.opened
    assert ledger.live == set()


async def test_a_session_that_is_just_being_opened_is_closed_too() -> None:
    gate = asyncio.Event()
    async with running_ledger(gate=gate) as ledger:
        task = asyncio.create_task(diagnose(Plan(URL(ledger.url)), Notes()))

        async def opened() -> bool:
            return bool(ledger.opened)

        await until(opened, what="a session that the doctor does not know of yet")
        task.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ledger.live == set()


async def test_reading_only_means_that() -> None:
    async with running_ledger() as ledger:
        report = await run(ledger.url, sessions=4, calls=2, read_only=True, idle_seconds=1.0)
    assert set(ledger.methods) <= READING
    assert report.not_run["unknown-session"] == "it sends more than lists and pings (--read-only)"


async def test_no_tool_is_called_unless_it_is_named() -> None:
    async with running_ledger() as ledger:
        await run(ledger.url, sessions=4, calls=2, idle_seconds=0.2)
        assert "tools/call" not in ledger.methods
        await run(ledger.url, sessions=4, calls=2, tool="echo", only=frozenset({"affinity"}))
        assert ledger.methods.count("tools/call") == 4 * 2 * 4


async def test_the_token_goes_with_every_request() -> None:
    async with running_ledger() as ledger:
        await run(ledger.url, sessions=3, calls=1, tokens=("secret-token",), only=frozenset({"affinity"}))
    assert set(ledger.tokens) == {"Bearer secret-token"}


async def test_calls_that_hang_end_soon_and_are_broken() -> None:
    started = time.monotonic()
    async with running_ledger(hangs_on=frozenset({"ping"})) as ledger:
        report = await run(ledger.url, sessions=4, timeout_seconds=0.5)
    assert finding(report, "affinity").says == "4 of 4 calls failed: no answer in time"
    assert report.outlook is Outlook.BROKEN
    assert time.monotonic() - started < 15
    assert ledger.live == set()


async def test_calls_that_hang_are_broken_in_a_quick_run_too() -> None:
    """Where each hangs for a quarter of the time that the whole run has, few may be sent before the check of them."""
    async with running_ledger(hangs_on=frozenset({"ping"})) as ledger:
        report = await run(ledger.url, sessions=12, calls=4, timeout_seconds=0.5, most_seconds=3.0)
    assert "calls failed: no answer in time" in finding(report, "affinity").says
    assert report.outlook is Outlook.BROKEN
    assert ledger.live == set()


async def test_only_and_skip_choose_the_checks() -> None:
    async with running_ledger() as ledger:
        chosen = await run(ledger.url, sessions=2, calls=1, only=frozenset({"eras", "affinity"}))
        others = await run(ledger.url, sessions=2, calls=1, skip=frozenset({"affinity"}))
    assert {one.check for one in chosen.findings} == {"eras", "affinity"}
    assert "affinity" not in {one.check for one in others.findings} | set(others.not_run)


async def test_a_node_that_is_down_is_told_and_blamed_on_nothing_else(quick_pace: None) -> None:
    turn = itertools.count()

    def down(request: web.Request) -> web.Response | None:
        """Every third request that is of no session meets it; a session keeps to its node."""
        is_free = request.headers.get(SESSION) not in odd.live
        return web.Response(status=503) if is_free and next(turn) % 3 == 0 else None

    async with running_odd() as odd:
        odd.guard = down
        report = await run(odd.url, calls=2)
        assert odd.live == set()
    assert set(problems(report)) == {"openings", "origin", "host"}  # the latter two are this server's own
    assert "new sessions could not be opened: 503" in finding(report, "openings").says
    assert finding(report, "forged-session").verdict is not Verdict.BROKEN


async def test_a_run_that_is_interrupted_while_it_closes_goes_on_closing() -> None:
    class Interrupting(Notes):
        def step(self, text: str) -> None:
            if text == "closing sessions":
                task.cancel()

    async with running_ledger() as ledger:
        plan = Plan(URL(ledger.url), sessions=5, calls=1, only=frozenset({"affinity"}))
        task = asyncio.create_task(diagnose(plan, Interrupting()))
        with pytest.raises(asyncio.CancelledError):
            await task
    assert ledger.opened
    assert ledger.live == set()
