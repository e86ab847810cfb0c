"""The verdict on openings that were refused."""

from __future__ import annotations

import dataclasses
import time

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.checks.openings import judge, judge_initialized
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.client.session import Attempt
from mooring.doctor.findings import Verdict
from mooring.doctor.report import Outlook
from tests.doctor.examples import CUT, HANG, REACHED, session
from tests.doctor.odd import Odd, running_odd
from tests.doctor.runs import finding, problems, run
from tests.doctor.serving import serving

DOWN = Reply(502, body=b"<html>Bad Gateway</html>")
LOGIN = Reply(401)
FULL = Reply(503, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "Too many sessions"}})
EMPTY = Reply(200, CIMultiDictProxy(CIMultiDict({"Content-Type": "text/event-stream"})))
TAKEN = Reply(200, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "already initialized"}})


def attempts(*replies: Reply) -> list[Attempt]:
    return [
        Attempt(dataclasses.replace(reply, at_seconds=float(number)), "2025-11-25")
        for number, reply in enumerate(replies)
    ]


@pytest.mark.parametrize(
    ("replies", "nodes", "reopened", "verdict", "says", "why"),
    [
        ([REACHED] * 20, None, None, Verdict.OK, "all 20 openings were taken", ""),
        ([REACHED] * 19 + [DOWN], None, None, Verdict.WARNING, "1 of 20 new sessions could not be opened: 502", ""),
        ([REACHED, DOWN, REACHED, DOWN], None, None, Verdict.BROKEN, "2 of 4 new", "A node that is down"),
        ([DOWN, DOWN] + [REACHED] * 6, None, None, Verdict.BROKEN, "2 of 8 new", "The first 2 were refused, and none"),
        ([REACHED, REACHED, DOWN] * 4, None, None, Verdict.BROKEN, "4 of 12 new", "Every third is refused"),
        ([REACHED, REACHED, LOGIN] * 4, None, None, Verdict.BROKEN, "4 of 12 new", "settings for tokens"),
        (
            [REACHED, LOGIN, REACHED, LOGIN, REACHED, LOGIN],
            ["a", "b", "a", "b", "a", "b"],
            None,
            Verdict.BROKEN,
            "3 of 6 new",
            "Each time it was the node b",
        ),
        ([REACHED] * 3 + [FULL] * 5, None, True, Verdict.BROKEN, "5 of 8 new", "After 3 sessions no other was opened"),
        (
            [REACHED] * 8 + [EMPTY],
            None,
            None,
            Verdict.WARNING,
            "1 of 9 new sessions could not be opened: 200 and a stream without the answer",
            "as if it were whole",
        ),
        ([REACHED] + [TAKEN] * 5, None, None, Verdict.BROKEN, "5 of 6 new", "After one session no other was opened"),
        ([REACHED, Reply(404)] * 3, None, None, Verdict.BROKEN, "3 of 6 new", "serves MCP at another path"),
        ([REACHED, Reply(trouble=Trouble.CUT)] * 3, None, None, Verdict.BROKEN, "3 of 6 new", "down or hangs"),
    ],
)
def test_what_is_said(
    replies: list[Reply], nodes: list[str | None] | None, reopened: bool | None, verdict: Verdict, says: str, why: str
) -> None:
    made = attempts(*replies)
    found = judge(made, nodes or [None] * len(made), reopened, 3 if reopened else 0, str)
    assert found.verdict is verdict
    assert found.says.startswith(says)
    assert why in found.why
    assert bool(found.changes) is (verdict is not Verdict.OK)
    assert len(found.says) <= 100


async def test_a_token_that_one_node_takes_and_another_does_not_is_not_refused() -> None:
    turn = iter(range(10_000))
    async with running_odd() as odd:
        odd.guard = lambda request: (
            web.Response(status=401) if "Mcp-Session-Id" not in request.headers and next(turn) % 2 == 0 else None
        )
        report = await run(odd.url, sessions=8, calls=2, tokens=("a-good-token",))
    assert report.reached
    found = finding(report, "openings")
    assert found.verdict is Verdict.BROKEN
    assert "the token is refused" not in found.says + found.why


async def test_a_limit_on_the_rate_is_no_finding_of_its_own() -> None:
    """Ten requests a second, as nginx's `limit_req` with a small burst answers more."""
    odd, bucket = Odd(), [10.0, time.monotonic()]

    async def limited(request: web.Request) -> web.StreamResponse:
        now = time.monotonic()
        bucket[0] = min(10.0, bucket[0] + 20.0 * (now - bucket[1]))
        bucket[1] = now
        if bucket[0] < 1.0:
            return web.Response(status=429)
        bucket[0] -= 1.0
        return await odd.answer(request)

    async with serving(limited) as url:
        report = await run(url, sessions=6, calls=2, only=frozenset({"openings", "affinity", "eras"}))
    assert problems(report) == {}
    assert finding(report, "affinity").verdict is Verdict.OK
    assert odd.live == set()


@pytest.mark.parametrize("status", [400, 403, 404, 500, 502])
async def test_what_comes_right_after_initialize_is_refused(status: int) -> None:
    """By a firewall that reads methods, say: calls pass, and no client of the TypeScript SDK can connect."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and "notifications/" in await request.text():
            return web.Response(status=status, text="<html>no</html>", content_type="text/html")
        return await odd.answer(request)

    odd = Odd()
    async with serving(answer) as url:
        report = await run(url, sessions=6, calls=2, only=frozenset({"eras", "openings", "affinity"}))
    assert problems(report) == {
        "openings": f"`notifications/initialized` is refused in each session: {status}",
    }
    assert report.outlook is Outlook.BROKEN
    assert odd.live == set()


async def test_what_comes_right_after_initialize_may_fail_once() -> None:
    failed = set[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        session = request.headers.get(SESSION, "")
        if request.method == "POST" and "notifications/" in await request.text() and session not in failed:
            failed.add(session)
            return web.Response(status=502)
        return await odd.answer(request)

    odd = Odd()
    async with serving(answer) as url:
        report = await run(url, sessions=6, calls=2, only=frozenset({"eras", "openings", "affinity"}))
    assert problems(report) == {"affinity": "6 ordinary requests failed beside the calls: 502"}
    failed.clear()
    async with serving(answer) as url:
        report = await run(url, sessions=6, calls=2, only=frozenset({"eras", "openings", "affinity", "origin"}))
    assert set(problems(report)) == {"affinity", "origin"}, "a warning about something else hides it no more"


def test_a_server_that_refuses_older_versions() -> None:
    unsupported = Reply(
        400, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "Unsupported version"}}
    )
    newer = [Attempt(REACHED, "2025-11-25")] * 6
    older = [Attempt(unsupported, version) for version in ("2025-06-18", "2025-03-26")]
    found = judge([*newer, *older], [None] * 8, None, 0, str)
    assert found.verdict is Verdict.WARNING
    assert found.says == "clients that ask for 2025-03-26 to 2025-06-18 are refused: 400 Unsupported version"
    assert "none after them" not in found.why
    mixed = judge([*newer, *older, Attempt(REACHED, "2025-06-18")], [None] * 9, None, 0, str)
    assert "could not be opened" in mixed.says


async def test_a_server_that_is_still_starting_is_examined_all_the_same(quick_pace: None) -> None:
    """Connections are dropped where their number may be limited, so none is left to call on."""
    starting = iter(range(5))
    odd = Odd(guard=lambda _: web.Response(status=503, text="starting") if next(starting, None) is not None else None)
    async with serving(odd.answer) as url:
        report = await run(
            url, sessions=6, calls=2, only=frozenset({"eras", "openings", "affinity", "unknown-session"})
        )
    affinity = finding(report, "affinity")
    assert affinity.verdict is Verdict.OK, affinity
    assert not any("hang" in why for why in report.not_run.values())


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, "Too many sessions"),
        (429, ""),
        (503, "Session limit reached"),
        (400, "Maximum number of sessions reached"),
    ],
)
async def test_a_limit_on_sessions_is_no_limit_on_the_rate(status: int, body: str, quick_pace: None) -> None:
    def guard(request: web.Request) -> web.Response | None:
        is_opening = request.method == "POST" and SESSION not in request.headers
        return web.Response(status=status, text=body) if is_opening and len(odd.live) >= 6 else None

    odd = Odd(guard=guard)
    async with serving(odd.answer) as url:
        report = await run(url, sessions=9, calls=2, only=frozenset({"eras", "openings", "affinity"}))
    found = finding(report, "openings")
    assert found.verdict is Verdict.BROKEN
    assert "could not be opened" in found.says
    assert "After 6 sessions no other was opened, and when one was closed, one could be" in found.why


@pytest.mark.parametrize(("reply", "verb"), [(HANG, "fails"), (CUT, "fails"), (Reply(403), "is refused")])
def test_what_gets_no_answer_was_refused_by_nobody(reply: Reply, verb: str) -> None:
    opened = session("one")
    opened.initialized.append(reply)
    found = judge_initialized([Attempt(REACHED, "2025-11-25", opened)], (), str)
    assert found is not None
    assert found.says == f"`notifications/initialized` {verb} in each session: {reply.label}"
    assert any("looking at the method" in change.what for change in found.changes) is (verb == "is refused")
