"""The older HTTP+SSE transport, at the endpoint or beside it."""

from __future__ import annotations

from aiohttp import web
from yarl import URL

from mooring.doctor.evidence.old_transport import is_old_transport, paths_beside
from tests.doctor.examined import examined
from tests.doctor.odd import Odd
from tests.doctor.runs import run
from tests.doctor.serving import serving


async def sse(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"event: endpoint\r\ndata: /messages?session_id=1\r\n\r\n")
    return response


def test_where_it_usually_is() -> None:
    assert paths_beside(URL("http://h/mcp")) == ["/sse"]
    assert paths_beside(URL("http://h/api/mcp/")) == ["/api/sse", "/sse"]
    assert paths_beside(URL("http://h/sse")) == []


async def test_it_is_told_from_other_streams_and_pages() -> None:
    odd = Odd()

    async def both(request: web.Request) -> web.StreamResponse:
        return await (sse(request) if request.path == "/sse" else odd.answer(request))

    async with serving(both) as url, examined(url, sessions=2) as exam:
        assert await is_old_transport(exam, URL(url).with_path("/sse"))
        assert not await is_old_transport(exam, URL(url).with_path("/other"))


async def test_where_there_is_nothing_else_it_is_named() -> None:
    async def only(request: web.Request) -> web.StreamResponse:
        return await sse(request) if request.path == "/sse" and request.method == "GET" else web.Response(status=404)

    async with serving(only) as url:
        report = await run(url)
    assert not report.reached
    assert report.findings[0].says.endswith("the deprecated HTTP+SSE transport (2024-11-05) is spoken at /sse")
