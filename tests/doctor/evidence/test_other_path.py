"""A path beside MCP, asked with the cookies of a session and without."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from mooring.doctor.evidence.other_path import ASKS, OtherPath
from tests.doctor.examined import examined
from tests.doctor.ledger import Ledger
from tests.doctor.serving import serving


@contextlib.asynccontextmanager
async def beside(asked: list[str], path: str) -> AsyncIterator[str]:
    """An MCP server that sets a cookie for `path`, and a page there that writes down which cookies come."""
    ledger = Ledger()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/page":
            asked.append(request.headers.get("Cookie", ""))
            return web.Response(text="page")
        response = await ledger.answer(request)
        response.headers["Set-Cookie"] = f"lb=1; Path={path}"
        return response

    async with serving(answer) as url:
        yield url


async def test_nothing_is_asked_where_no_path_is_named() -> None:
    asked = list[str]()
    async with beside(asked, "/") as url, examined(url, sessions=2) as exam:
        assert await exam.shared(OtherPath).replies() is None
    assert asked == []


async def test_it_is_asked_once_though_two_checks_want_to_know() -> None:
    asked = list[str]()
    async with beside(asked, "/") as url, examined(url, sessions=2, other_path="/page") as exam:
        one, other = await asyncio.gather(*(exam.shared(OtherPath).replies() for _ in range(2)))
    assert one is not None
    assert one is other
    assert (one.path, one.sent) == ("/page", frozenset({"lb"}))
    assert (len(one.plain), len(one.carried)) == (ASKS, ASKS)
    assert sorted(asked) == [""] * ASKS + ["lb=1"] * ASKS


async def test_a_cookie_that_is_not_sent_there_is_not_tried() -> None:
    asked = list[str]()
    async with beside(asked, "/mcp") as url, examined(url, sessions=2, other_path="/page") as exam:
        replies = await exam.shared(OtherPath).replies()
    assert replies is not None
    assert (replies.sent, replies.carried) == (frozenset(), ())
    assert asked == [""] * ASKS
