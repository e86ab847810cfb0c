from __future__ import annotations

import random
import uuid
from collections.abc import Callable

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mooring.doctor.checks.affinity import judge
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import WAYS, Way
from mooring.doctor.evidence.call_pattern import Pattern, pattern_of
from mooring.doctor.examination import Call
from mooring.doctor.findings import Verdict
from mooring.doctor.report import Outlook, Report
from tests.doctor.examples import (
    HANG,
    LOST,
    ONE,
    REACHED,
    THROTTLED,
    TWO,
    UNAVAILABLE,
    alike,
    calls,
    examination,
)
from tests.doctor.odd import Odd, refusal, running_odd
from tests.doctor.runs import finding, problems, run
from tests.doctor.serving import serving

Replies = dict[Way, list[Reply]]


def by_way(works: set[Way]) -> list[Call]:
    return [
        call
        for of in (ONE, TWO)
        for way in WAYS
        for call in calls(of, way, *([REACHED] * 3 if way in works else [REACHED, LOST, LOST]))
    ]


def by_session() -> list[Call]:
    return [
        call for of, reply in ((ONE, REACHED), (TWO, LOST)) for way in WAYS for call in calls(of, way, *[reply] * 3)
    ]


def restarted(*, spared: bool) -> list[Call]:
    """In the second way, the node of one session ends, or that of both."""
    made = [call for of in (ONE, TWO) for call in calls(of, WAYS[0], REACHED, REACHED)]
    lost = [call for way in WAYS[1:] for call in calls(ONE, way, UNAVAILABLE, LOST, LOST)]
    other = [call for way in WAYS[1:] for call in calls(TWO, way, *[REACHED if spared else LOST] * 3)]
    return [*made, *lost, *other]


@pytest.mark.parametrize(
    ("made", "pattern", "verdict", "says"),
    [
        (alike(REACHED), Pattern.KEPT, Verdict.OK, "8 of 8 calls reached their session"),
        (
            alike(REACHED, LOST, LOST),
            Pattern.ROUND_ROBIN,
            Verdict.BROKEN,
            "works with one replica, fails with two: 67%",
        ),
        (by_way({WAYS[0], WAYS[2]}), Pattern.COOKIE, Verdict.BROKEN, "only clients that keep cookies work"),
        (by_way({WAYS[0], WAYS[1]}), Pattern.CONNECTION, Verdict.BROKEN, "affinity by connection"),
        (by_way({WAYS[0]}), Pattern.ROUND_ROBIN, Verdict.BROKEN, "works with one replica, fails with two"),
        (by_session(), Pattern.HASH, Verdict.BROKEN, "each session works always or never"),
        (restarted(spared=True), Pattern.ENDED, Verdict.BROKEN, "1 of 2 sessions ended during the calls"),
        (restarted(spared=False), Pattern.ENDED, Verdict.BROKEN, "2 of 2 sessions ended during the calls"),
        (alike(LOST, LOST), Pattern.NEVER, Verdict.BROKEN, "no call reaches its session: 404 Session not found"),
        (alike(THROTTLED), Pattern.KEPT, Verdict.UNKNOWN, "8 of 8 calls failed: 429"),
        (alike(*[REACHED] * 60, UNAVAILABLE), Pattern.KEPT, Verdict.WARNING, "8 of 488 calls failed: 502"),
        (alike(REACHED, UNAVAILABLE), Pattern.KEPT, Verdict.BROKEN, "8 of 16 calls failed: 502"),
        (alike(HANG), Pattern.KEPT, Verdict.BROKEN, "8 of 8 calls failed: no answer in time"),
        (
            alike(*[REACHED] * 60, *[THROTTLED] * 9, UNAVAILABLE),
            Pattern.KEPT,
            Verdict.WARNING,
            "80 of 560 calls failed",
        ),
        ([], Pattern.KEPT, Verdict.UNKNOWN, "no call could be made in time"),
    ],
)
def test_what_the_load_balancer_goes_by(made: list[Call], pattern: Pattern, verdict: Verdict, says: str) -> None:
    assert pattern_of(made) is pattern
    finding = judge(examination(made))
    assert finding.verdict is verdict
    assert finding.says.startswith(says)
    assert (finding.changes == ()) == (verdict is Verdict.OK or not made)


@given(st.lists(st.sampled_from([REACHED, UNAVAILABLE, THROTTLED, HANG]), min_size=1, max_size=20))
def test_nobody_is_told_of_lost_sessions_where_none_was_lost(replies: list[Reply]) -> None:
    made = alike(*replies)
    finding = judge(examination(made))
    assert pattern_of(made) is Pattern.KEPT
    assert "replica" not in finding.says + finding.why
    assert (finding.verdict is Verdict.OK) == all(reply is REACHED for reply in replies)


@given(st.lists(st.lists(st.sampled_from([REACHED, LOST]), min_size=2, max_size=6), min_size=4, max_size=4))
def test_a_lost_call_is_always_broken(replies: list[list[Reply]]) -> None:
    made = [call for way, some in zip(WAYS, replies, strict=True) for call in calls(ONE, way, *some)]
    finding = judge(examination(made))
    assert (finding.verdict is Verdict.BROKEN) == any(LOST in some for some in replies)
    assert finding.evidence["reached"] == sum(reply is REACHED for some in replies for reply in some)


def test_a_server_that_answers_now_and_then_is_not_said_to_answer_nothing() -> None:
    assert "does not answer within them" in judge(examination(alike(HANG))).why
    assert "does not answer within them" not in judge(examination(alike(REACHED, HANG))).why


@pytest.mark.parametrize("status", [200, 400, 404, 501])
async def test_a_server_that_knows_no_ping_is_reached_all_the_same(status: int) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        is_known = request.method != "POST" or request.headers.get(SESSION) in odd.live
        if request.method == "POST" and is_known and (await request.json()).get("method") == "ping":
            return refusal(status, "Method not found", -32601)
        return await odd.answer(request)

    odd = Odd()
    async with serving(answer) as url:
        report = await run(
            url, sessions=4, calls=2, only=frozenset({"eras", "openings", "affinity", "unknown-session"})
        )
    assert problems(report) == {}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: refusal(500, "boom"), "500 boom"),
        (lambda: web.Response(status=403, text="<html>no</html>", content_type="text/html"), "403"),
        (lambda: web.Response(status=504), "504"),
    ],
)
async def test_a_list_of_tools_that_does_not_come_is_no_health(answer: Callable[[], web.Response], says: str) -> None:
    report = await _run_with_tools_list(answer)
    assert problems(report) == {"affinity": f"pings are answered, and `tools/list` is not: {says}"}


async def test_a_login_for_tools_alone_is_not_called_broken() -> None:
    report = await _run_with_tools_list(lambda: web.Response(status=401, headers={"WWW-Authenticate": "Bearer"}))
    assert problems(report) == {}
    assert report.outlook is Outlook.WARNINGS, "nor healthy"


@pytest.mark.parametrize("answer", [None, lambda: refusal(200, "Method not found", -32601)])
async def test_a_list_of_tools_that_comes(answer: Callable[[], web.Response] | None) -> None:
    assert (await _run_with_tools_list(answer)).outlook is Outlook.HEALTHY


async def _run_with_tools_list(answer: Callable[[], web.Response] | None) -> Report:
    async def answered(request: web.Request) -> web.StreamResponse:
        if answer is not None and request.method == "POST" and (await request.json()).get("method") == "tools/list":
            return answer()
        return await odd.answer(request)

    odd = Odd()
    async with serving(answered) as url:
        return await run(url, sessions=4, calls=2, only=frozenset({"eras", "openings", "affinity"}))


@pytest.mark.parametrize(("opened", "kept"), [(4, 1), (7, 3), (7, 4)])
async def test_a_server_that_ends_the_oldest_session_is_no_hash(opened: int, kept: int) -> None:
    """The first ones are opened one by one, so that each is reached before it ends."""

    def guard(_: web.Request) -> web.Response | None:
        for session in list(odd.order)[: -kept or None]:
            odd.live.discard(session)
        return None

    class InOrder(Odd):
        order: list[str]

    odd = InOrder(guard=guard)
    odd.order = []
    odd.mint = lambda: odd.order.append(uuid.uuid4().hex) or odd.order[-1]  # type: ignore[func-returns-value]
    async with serving(odd.answer) as url:
        report = await run(url, sessions=opened, calls=2, only=frozenset({"eras", "openings", "affinity"}))
    found = finding(report, "affinity")
    assert found.says == f"older sessions are gone once newer ones are opened: {opened - kept} of {opened}"
    assert "hash" not in found.says + found.why
    assert "a new transport for each session" in found.changes[0].what


async def test_a_success_without_an_answer_is_told_as_that() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "POST" and (await request.json()).get("method") == "ping":
            return web.Response(status=202)
        return await odd.answer(request)

    odd = Odd()
    async with serving(answer) as url:
        report = await run(url, sessions=3, calls=2, only=frozenset({"affinity"}))
    assert "A success without the answer in it" in finding(report, "affinity").why


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, "Unauthorized: Session not found"), (403, "Forbidden"), (410, ""), (422, "Unprocessable"), (500, "Error")],
)
async def test_nodes_that_refuse_unknown_sessions_in_their_own_way_are_no_failing_nodes(status: int, body: str) -> None:
    """Two nodes in turn, and neither has other settings for tokens: older servers of Rust's SDK say 401, say."""
    chance = random.Random(7)  # in strict turns, calls that go side by side fall in step with them

    def knows(request: web.Request, odd: Odd) -> bool:
        return request.headers[SESSION] in odd.live and chance.random() < 0.5

    async with running_odd(knows=knows, refuse=lambda _: web.Response(status=status, text=body)) as odd:
        report = await run(odd.url, sessions=6, calls=3, only=frozenset({"affinity", "unknown-session"}))
    affinity = finding(report, "affinity")
    assert affinity.says.startswith("works with one replica, fails with two"), affinity
    assert "by the server itself, or by something on the way" in affinity.why
    assert not any("intercept" in change.what + change.config for change in affinity.changes)
    assert finding(report, "unknown-session").says == f"an unknown session is answered with {status}; 404 is due"
    assert ("login loop" in finding(report, "unknown-session").why) is (status in (401, 403))


async def test_nodes_that_refuse_unknown_sessions_with_an_error_under_200() -> None:
    chance = random.Random(7)

    def knows(request: web.Request, odd: Odd) -> bool:
        return request.headers[SESSION] in odd.live and chance.random() < 0.5

    async with running_odd(knows=knows, refuse=lambda _: refusal(200, "Unknown client", -32000)) as odd:
        report = await run(odd.url, sessions=6, calls=3, only=frozenset({"affinity", "unknown-session"}))
    assert finding(report, "affinity").says.startswith("works with one replica, fails with two")
    unknown = finding(report, "unknown-session")
    assert unknown.verdict is Verdict.BROKEN
    assert unknown.says == "an unknown session is answered with an error under 200; 404 is due: 200 Unknown client"


async def test_nodes_without_sessions_that_answer_for_others_keep_none() -> None:
    turn = iter(range(10_000))
    odd = Odd()

    async def mixed(request: web.Request) -> web.StreamResponse:
        """Every other request meets a node without sessions, which answers whatever it is asked."""
        if next(turn) % 2:
            return await odd.answer(request)
        message = await request.json() if request.method == "POST" else {}
        if "id" not in message:
            return web.Response(status=202 if message else 405)
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "odd", "version": "1"}}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    async with serving(mixed) as url:
        report = await run(url, sessions=6, calls=2, only=frozenset({"eras", "affinity", "unknown-session"}))
    assert finding(report, "eras").says.startswith("some nodes give out sessions")
    assert finding(report, "affinity").verdict is Verdict.UNKNOWN
    assert "eras" in report.not_run["unknown-session"]
