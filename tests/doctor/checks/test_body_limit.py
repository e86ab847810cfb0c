from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web

from mooring.doctor.advice import Topic, advice
from mooring.doctor.checks import body_limit
from mooring.doctor.checks.body_limit import written
from mooring.doctor.client.protocol import SESSION
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.evidence.body_sizes import SIZES, SMALL, Attempt
from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, nginx
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import HANG, LOST, REACHED, THROTTLED, UNAVAILABLE
from tests.doctor.ledger import running_ledger
from tests.doctor.odd import refusal, running_odd
from tests.doctor.runs import finding
from tests.doctor.runs import run as doctor

TOO_LARGE = Reply(status=413)
CUT = Reply(trouble=Trouble.CUT)
CUT_WORDS = "connection closed before the answer was whole"


def attempts(*replies: Reply) -> list[Attempt]:
    return [Attempt(size, reply) for size, reply in zip((SMALL, *SIZES), replies, strict=False)]


async def found_at(url: str, **fields: Any) -> Finding:
    async with examined(url, **{"sessions": 2, **fields}) as exam:
        found = await body_limit.run(exam)
    assert isinstance(found, Finding)
    return found


OK = REACHED


@pytest.mark.parametrize(
    ("replies", "verdict", "says"),
    [
        ([OK, OK, OK, OK], Verdict.OK, "requests of 5 MiB are taken"),
        ([OK, OK, OK, TOO_LARGE], Verdict.OK, "1.5 MiB is taken, 5 MiB is refused: 413"),
        ([OK, OK, OK, CUT], Verdict.WARNING, f"1.5 MiB is taken, 5 MiB is refused: {CUT_WORDS}"),
        ([OK, OK, OK, UNAVAILABLE], Verdict.WARNING, "1.5 MiB is taken, 5 MiB is refused: 502"),
        ([OK, OK, OK, HANG], Verdict.WARNING, "1.5 MiB is taken, 5 MiB is refused: no answer in time"),
        ([OK, OK, OK, Reply(status=400)], Verdict.WARNING, "1.5 MiB is taken, 5 MiB is refused: 400"),
        ([OK, OK, TOO_LARGE], Verdict.WARNING, "256 KiB is taken, 1.5 MiB is refused: 413"),
        ([OK, OK, Reply(status=403)], Verdict.WARNING, "256 KiB is taken, 1.5 MiB is refused: 403"),
        ([OK, OK, UNAVAILABLE], Verdict.BROKEN, "256 KiB is taken, 1.5 MiB is refused: 502"),
        ([OK, OK, CUT], Verdict.BROKEN, f"256 KiB is taken, 1.5 MiB is refused: {CUT_WORDS}"),
        ([OK, HANG], Verdict.BROKEN, "256 KiB is refused: no answer in time"),
        ([OK, TOO_LARGE], Verdict.WARNING, "256 KiB is refused: 413"),
        ([OK, OK, THROTTLED], Verdict.UNKNOWN, "the server limits the rate of requests (429)"),
        (
            [OK, OK, LOST],
            Verdict.UNKNOWN,
            "no node that was asked with 1.5 MiB knew the session: 404 Session not found",
        ),
        ([UNAVAILABLE], Verdict.UNKNOWN, "even a small call fails: 502"),
        ([OK, OK, OK], Verdict.OK, "requests of 1.5 MiB are taken; larger ones take too long from here to try"),
        ([OK, OK], Verdict.UNKNOWN, "requests of 256 KiB are taken; larger ones take too long from here to try"),
    ],
)
def test_the_verdict(replies: Sequence[Reply], verdict: Verdict, says: str) -> None:
    found = body_limit.judge(attempts(*replies), None, str)
    assert (found.verdict, found.says) == (verdict, says)
    assert bool(found.changes) == (verdict in (Verdict.WARNING, Verdict.BROKEN))
    json.dumps(found.evidence)


def test_an_answer_that_was_lost_with_the_connection_is_an_answer() -> None:
    lost = Attempt(SIZES[2], CUT, paused=TOO_LARGE)
    found = body_limit.judge([*attempts(OK, OK, OK), lost], None, str)
    assert (found.verdict, found.says) == (Verdict.OK, "1.5 MiB is taken, 5 MiB is refused: 413")
    assert "broken connection" in found.why
    assert found.evidence["answer_lost_while_sending"] is True


def test_the_proxys_limit_comes_first_where_the_proxy_has_answered() -> None:
    nginxs = Reply(status=413, body=b"<html><hr><center>nginx/1.22.1</center></html>")
    own = advice(Topic.BODY_LIMIT, None)
    for answer, first in ((nginxs, advice(Topic.BODY_LIMIT, Proxy.NGINX)), (TOO_LARGE, own)):
        found = body_limit.judge(attempts(OK, OK, answer), Proxy.NGINX, str)
        assert found.changes[0] == first
        assert len(found.changes) == 2
    assert body_limit.judge(attempts(OK, OK, nginxs), None, str).changes == (own,)


@pytest.mark.parametrize(("size", "text"), list(zip(SIZES, ("256 KiB", "1.5 MiB", "5 MiB"), strict=True)))
def test_sizes_as_they_are_written(size: int, text: str) -> None:
    assert written(size) == text


async def test_without_a_limit() -> None:
    async with running_odd() as odd:
        found = await found_at(odd.url)
    assert (found.verdict, found.evidence["largest_accepted_bytes"]) == (Verdict.OK, 5 * 1024 * 1024)


async def test_another_nodes_404_is_not_taken_for_a_refusal() -> None:
    async with running_ledger(lost_share=3) as ledger:
        found = await found_at(ledger.url)
    assert found.evidence["refused_with"] == "413"
    assert found.evidence["largest_accepted_bytes"] == 256 * 1024


@pytest.mark.real
async def test_the_python_sdk_bare_and_behind_proxies_that_let_it_be() -> None:
    async with (
        replica_urls("stateful", 2) as urls,
        haproxy.learned_session_id(urls) as kept,
        nginx.round_robin(urls[:1]) as passed,
    ):
        for url in (urls[0], kept, passed):
            found = await found_at(url)
            assert found.verdict is Verdict.OK
            assert found.says == "1.5 MiB is taken, 5 MiB is refused: 413 Request body too large"


@pytest.mark.real
async def test_a_server_without_sessions() -> None:
    async with replica_urls("stateless", 2) as urls, haproxy.round_robin(urls) as url:
        found = await found_at(url)
    assert (found.verdict, found.evidence["largest_accepted_bytes"]) == (Verdict.OK, SIZES[1])


@pytest.mark.real
async def test_nginxs_default_and_what_is_advised_against_it() -> None:
    lines = advice(Topic.BODY_LIMIT, Proxy.NGINX).config
    name, _, value = lines.splitlines()[1].strip().removesuffix(";").partition(" ")
    async with running_odd() as odd:
        async with nginx.body_limit([odd.url]) as url:
            found = await found_at(url)
        async with nginx.running_nginx([odd.url], {name: value}) as base:
            cured = await found_at(f"{base}/mcp")
    assert (found.verdict, found.says) == (Verdict.WARNING, "256 KiB is taken, 1.5 MiB is refused: 413")
    assert (cured.verdict, cured.says) == (Verdict.OK, "requests of 5 MiB are taken")


@pytest.mark.real
async def test_nginx_that_speaks_http_1_0_hides_the_servers_refusal_and_the_line_that_is_advised() -> None:
    lines = advice(Topic.OVERSIZED_BODY, Proxy.NGINX).config.splitlines()
    cure = dict(line.removesuffix(";").rsplit(" ", 1) for line in lines)
    directives: dict[str, str | None] = {"proxy_http_version": None, "proxy_set_header Connection": None}
    async with replica_urls("stateful", 1) as urls:
        async with nginx.running_nginx(urls, directives) as base:
            found = await found_at(f"{base}/mcp")
        async with nginx.running_nginx(urls, {**directives, **cure}) as base:
            cured = await found_at(f"{base}/mcp")
    assert (found.verdict, found.says) == (Verdict.WARNING, "1.5 MiB is taken, 5 MiB is refused: 502")
    assert (cured.verdict, cured.evidence["answers_to_refused"]) == (Verdict.OK, {"413": 10})


async def test_a_refusal_that_sometimes_fails_is_not_taken_for_a_clean_one() -> None:
    failures = iter([False, False, True])

    def sometimes(request: web.Request) -> web.Response | None:
        if int(request.headers.get("Content-Length", 0)) < SIZES[2]:
            return None
        return refusal(502 if next(failures, False) else 413, "too large")

    async with running_odd(guard=sometimes) as odd:
        found = await found_at(odd.url)
    assert found.verdict is Verdict.WARNING
    assert found.evidence["answers_to_refused"] == {"413": 2, "502": 1}


@pytest.mark.real
async def test_a_rule_of_haproxy_and_the_line_that_is_advised() -> None:
    line = advice(Topic.BODY_LIMIT, Proxy.HAPROXY).config
    async with running_odd() as odd:
        async with haproxy.running_haproxy([odd.url], frontend=[line.replace("16777216", "1000000")]) as base:
            found = await found_at(f"{base}/mcp")
        async with haproxy.running_haproxy([odd.url], frontend=[line]) as base:
            cured = await found_at(f"{base}/mcp")
    assert (found.verdict, found.evidence["refused_with"]) == (Verdict.WARNING, "413")
    assert cured.verdict is Verdict.OK


@pytest.mark.real
async def test_the_typescript_sdks_express_app() -> None:
    async with replica_urls("typescript", 1) as urls:
        found = await found_at(urls[0])
    assert (found.verdict, found.says) == (Verdict.WARNING, "256 KiB is refused: 413")
    assert "express.json" in found.changes[0].config


async def test_a_server_that_fails_at_that_moment_is_not_said_to_refuse_a_size() -> None:
    down = False

    def guard(request: web.Request) -> web.Response | None:
        nonlocal down
        down = down or (request.content_length or 0) > 200_000
        return web.Response(status=503) if down else None

    async with running_odd(guard=guard) as odd, examined(odd.url, sessions=3) as exam:
        found = await body_limit.run(exam)
    assert isinstance(found, Finding)
    assert (found.verdict, found.says) == (Verdict.UNKNOWN, "cannot tell: small calls fail at the same time, too: 503")


async def test_a_node_that_refuses_tokens_now_and_then_is_not_said_to_refuse_a_size() -> None:
    turn = iter(range(100_000))

    def guard(request: web.Request) -> web.Response | None:
        if (request.content_length or 0) > 200_000:
            return refusal(401, "who are you?")
        is_call = request.method == "POST" and SESSION in request.headers and (request.content_length or 0) < 1_000
        return refusal(401, "who are you?") if is_call and next(turn) % 3 == 0 else None

    async with running_odd(guard=guard) as odd:
        report = await doctor(odd.url, sessions=3, calls=3, only=frozenset({"affinity", "body-limit"}))
    found = finding(report, "body-limit")
    assert found.verdict is Verdict.UNKNOWN
    assert found.says == "cannot tell: calls that nothing is odd about fail, too: 401 who are you?"
