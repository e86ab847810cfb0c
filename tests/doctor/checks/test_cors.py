from __future__ import annotations

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.checks.cors import judge, run
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.cross_origin import CrossOrigin
from mooring.doctor.findings import Finding, Verdict
from tests.doctor.examined import examined
from tests.doctor.odd import refusal, running_odd
from tests.doctor.serving import serving

PAGE = "https://a.example"
ALLOWED = {"Access-Control-Allow-Origin": "*"}
PREFLIGHT = {**ALLOWED, "Access-Control-Allow-Headers": "*"}
EXPOSED = {**ALLOWED, "Access-Control-Expose-Headers": "Mcp-Session-Id"}


def page(status: int, preflight: dict[str, str], post: dict[str, str]) -> CrossOrigin:
    message = {"jsonrpc": "2.0", "id": 1, "result": {}}
    return CrossOrigin(
        PAGE,
        Reply(status, headers=CIMultiDictProxy(CIMultiDict(preflight))),
        Reply(200, headers=CIMultiDictProxy(CIMultiDict(post)), message=message),
    )


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        (page(405, {}, {}), Verdict.OK, "no web page may read its answers"),
        (page(204, PREFLIGHT, EXPOSED), Verdict.OK, "clients in web pages can use it, such as those of"),
        (page(405, {}, EXPOSED), Verdict.WARNING, "pages may read answers, but the preflight is answered with 405"),
        (page(204, ALLOWED, EXPOSED), Verdict.WARNING, "pages may read answers, but the preflight does not allow"),
        (page(204, PREFLIGHT, {}), Verdict.WARNING, "the preflight lets pages in, but answers lack"),
        (page(204, PREFLIGHT, ALLOWED), Verdict.WARNING, "web pages cannot read Mcp-Session-Id"),
        (
            page(204, PREFLIGHT, {"Access-Control-Allow-Origin": "*, *"}),
            Verdict.WARNING,
            "Access-Control-Allow-Origin comes twice",
        ),
    ],
)
def test_what_is_said(seen: CrossOrigin, verdict: Verdict, says: str) -> None:
    found = judge([seen], str, has_sessions=True)
    assert found.verdict is verdict
    assert found.says.startswith(says)
    assert bool(found.changes) is (verdict is Verdict.WARNING)


def test_without_sessions_there_is_no_id_to_read() -> None:
    assert judge([page(204, PREFLIGHT, ALLOWED)], str, has_sessions=False).verdict is Verdict.OK


async def test_a_server_that_knows_nothing_of_pages() -> None:
    async with running_odd() as odd, examined(odd.url, sessions=2) as exam:
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK


async def test_a_server_without_sessions_need_not_allow_their_header() -> None:
    """Its list of allowed headers names what its clients send; Starlette refuses a preflight that asks for more."""
    allowed = {"authorization", "content-type", "mcp-protocol-version"}

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {**ALLOWED, "Access-Control-Allow-Headers": ", ".join(sorted(allowed))}
        if request.method == "OPTIONS":
            asked = set(request.headers["Access-Control-Request-Headers"].lower().split(","))
            return web.Response(status=200 if asked <= allowed else 400, headers=headers)
        message = await request.json() if request.method == "POST" else {}
        if "id" not in message:
            return web.Response(status=202 if message else 405)
        if message["method"] == "server/discover":
            return refusal(400, "Unsupported protocol version", -32022)
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "n", "version": "1"}}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=ALLOWED)

    async with serving(answer) as url, examined(url) as exam:
        assert exam.eras.gives_sessions is False
        found = await run(exam)
    assert isinstance(found, Finding)
    assert found.verdict is Verdict.OK, found
