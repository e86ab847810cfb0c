from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from yarl import URL

from mooring.doctor.evidence.old_sessions import try_old_sessions
from tests.doctor.examined import examined
from tests.doctor.odd import Odd
from tests.doctor.serving import serving


@pytest.mark.parametrize("lost", [0, 2])
async def test_every_post_needs_its_stream(lost: int) -> None:
    """Every `lost`-th POST meets a node without the stream."""
    odd, streams, posts = Odd(), dict[str, asyncio.Queue[bytes]](), iter(range(100))

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/sse":
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            name = str(len(streams))
            streams[name] = asyncio.Queue()
            await response.write(f"event: endpoint\r\ndata: /messages?session_id={name}\r\n\r\n".encode())
            await response.write(await streams[name].get())
            await asyncio.sleep(5)
            return response
        if request.path == "/messages":
            if lost and next(posts) % lost == 0:
                return web.Response(status=404, text="Could not find session")
            message = await request.json()
            text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}})
            streams[request.query["session_id"]].put_nowait(f"event: message\r\ndata: {text}\r\n\r\n".encode())
            return web.Response(status=202)
        return await odd.answer(request)

    async with serving(answer) as url, examined(url, sessions=2) as exam:
        found = await try_old_sessions(exam, URL(url).with_path("/sse"))
    assert [one.is_answered for one in found] == [not (lost and number % lost == 0) for number in range(6)]


@pytest.mark.parametrize("named", ["http://[::1/messages", "http://xn--/messages", "mailto:x"])
async def test_a_stream_that_names_nothing_to_post_to(named: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path != "/sse":
            return await odd.answer(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(f"event: endpoint\r\ndata: {named}\r\n\r\n".encode())
        return response

    odd = Odd()
    async with serving(answer) as url, examined(url, sessions=2) as exam:
        assert await try_old_sessions(exam, URL(url).with_path("/sse")) == []


async def test_what_is_nested_too_deep_is_no_answer() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/messages":
            return web.Response(status=202)
        if request.path != "/sse":
            return await odd.answer(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"event: endpoint\r\ndata: /messages\r\n\r\ndata: " + b"[" * 200_000 + b"\r\n\r\n")
        return response

    odd = Odd()
    async with serving(answer) as url, examined(url, sessions=2) as exam:
        found = await try_old_sessions(exam, URL(url).with_path("/sse"))
    assert [one.is_answered for one in found] == [False] * 6
