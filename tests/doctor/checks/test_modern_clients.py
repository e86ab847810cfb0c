from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from mcp.client.client import Client

from mooring.doctor.checks.modern_clients import Era, era_of, judge, run
from mooring.doctor.client.protocol import LEGACY_VERSIONS, METHOD, MODERN_VERSION
from mooring.doctor.client.reply import Reply, Trouble
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.examples import CUT, THROTTLED
from tests.doctor.odd import Odd, running_odd
from tests.doctor.serving import serving


def result(*versions: str) -> Reply:
    return Reply(200, message={"jsonrpc": "2.0", "id": 1, "result": {"supportedVersions": list(versions)}})


MODERN, OLDER = result(MODERN_VERSION), result("2025-11-25")
REFUSED = Reply(400, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32022, "message": "no"}})
DOWN = Reply(502)


@pytest.mark.parametrize(
    ("reply", "era"),
    [
        (MODERN, Era.MODERN),
        (OLDER, Era.LEGACY),
        (REFUSED, Era.LEGACY),
        (Reply(404), Era.LEGACY),
        (Reply(200, message={"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}), Era.LEGACY),
        (DOWN, Era.FAILED),
        (Reply(307), Era.FAILED),
        (Reply(403), Era.LEGACY),
        (Reply(trouble=Trouble.CUT), Era.NEITHER),
        (Reply(trouble=Trouble.HANG), Era.FAILED),
        (Reply(200, body=b"<html>"), Era.FAILED),
        (Reply(401), Era.LEGACY),
        (THROTTLED, Era.UNTOLD),
    ],
)
def test_what_a_client_makes_of_an_answer(reply: Reply, era: Era) -> None:
    assert era_of(reply) is era


@pytest.mark.parametrize(
    ("replies", "verdict", "says"),
    [
        ([MODERN] * 6, Verdict.OK, "are answered in it"),
        ([REFUSED] * 6, Verdict.OK, "fall back to sessions"),
        ([MODERN, REFUSED] * 3, Verdict.BROKEN, "some nodes speak the modern era and some do not: 3 of 6"),
        ([CUT] * 6, Verdict.BROKEN, "clients that try the modern era first fail on 6 of 6 tries: connection closed"),
        ([REFUSED] * 5 + [CUT], Verdict.WARNING, "fail on 1 of 6 tries: connection closed"),
        ([DOWN] * 6, Verdict.WARNING, "`server/discover` fails on 6 of 6 tries: 502"),
        ([REFUSED] * 5 + [DOWN], Verdict.WARNING, "fails on 1 of 6 tries: 502"),
        ([Reply(401)] * 6, Verdict.OK, "fall back to sessions"),
        ([MODERN, Reply(403)] * 3, Verdict.BROKEN, "3 of 6 modern requests are refused, and others answered: 403"),
        ([THROTTLED] * 6, Verdict.UNKNOWN, "cannot tell: 429"),
    ],
)
def test_what_is_said(replies: list[Reply], verdict: Verdict, says: str) -> None:
    found = judge(replies, str)
    assert found.verdict is verdict
    assert says in found.says


@pytest.mark.parametrize("is_modern", [True, False])
async def test_a_server_that_answers(is_modern: bool) -> None:
    async with running_odd(is_modern=is_modern) as odd, examined(odd.url, sessions=3) as exam:
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 502, 302, 200])
async def test_the_official_client_does_fall_back(status: int) -> None:
    """What is said of it, held against the client itself."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get(METHOD) == "server/discover":
            return web.Response(
                status=status, headers={"Location": "https://elsewhere.invalid/"} if status == 302 else {}
            )
        return await odd.answer(request)

    odd = Odd()
    async with serving(answer) as url, asyncio.timeout(20), Client(url) as client:
        assert client.protocol_version == LEGACY_VERSIONS[0]


async def test_the_official_client_does_not_survive_a_cut_connection() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get(METHOD) == "server/discover":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return await odd.answer(request)

    odd = Odd()
    async with serving(answer) as url, asyncio.timeout(20):
        with pytest.raises(ExceptionGroup):
            async with Client(url):
                pass
