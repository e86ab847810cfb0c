"""A small proxy of our own that breaks a deployment in one way at a time, and passes all else on as it comes.

    client ──> breaking proxy ──> nodes, in turn, or a session always at the one that opened it

What it breaks, it breaks for the requests that `when` chooses: by node, by connection, by turn, by time, by method.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

SESSION: Final = "Mcp-Session-Id"
_OF_THE_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One request, as the proxy sees it.

    Attributes:
        number: of all requests, from 0 on; `connection` that of its connection.
        node: the number of the node that it goes to.
        method: of JSON-RPC, or else of HTTP.
        opened_here: its session was opened on this connection.
        seconds: since the proxy has started; `idle_seconds` since the last request of its session.
        sessions: how many are open.
    """

    number: int
    connection: int
    node: int
    method: str
    session: str | None
    opened_here: bool
    seconds: float
    idle_seconds: float
    sessions: int
    origin: str | None = None

    @property
    def is_opening(self) -> bool:
        return self.method == "initialize"

    @property
    def is_call(self) -> bool:
        return self.session is not None and self.method not in ("DELETE", "GET")


def always(_: Seen) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Break:
    """What is done to the requests that `when` chooses.

    Attributes:
        drop_in, drop_out: headers taken out of requests and of answers.
        rename_out: headers of answers under another name.
        delay_seconds: before the request is passed on.
        cut: the connection is closed in place of an answer.
        answer: status, type and body in place of passing it on.
        rewrite: status -> status, type and body that come in its place.
        add_out: headers added to answers.
        buffer: answers are passed on once they are complete.
    """

    when: Callable[[Seen], bool] = always
    drop_in: Sequence[str] = ()
    drop_out: Sequence[str] = ()
    rename_out: Mapping[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    cut: bool = False
    answer: tuple[int, str, str] | None = None
    rewrite: Mapping[int, tuple[int, str, str]] = field(default_factory=dict)
    add_out: Mapping[str, str] = field(default_factory=dict)
    buffer: bool = False


class _Proxy:
    def __init__(self, nodes: Sequence[str], broken: Break, *, sticky: bool) -> None:
        self.nodes = [f"http://{urlsplit(node).netloc}" for node in nodes]
        self.broken = broken
        self.sticky = sticky
        self.homes: dict[str, int] = {}
        self.opened_on: dict[str, int] = {}
        self.used: dict[str, float] = {}
        self.turn = itertools.cycle(range(len(nodes)))
        self.count = itertools.count()
        self.connections: dict[int, int] = {}
        self.began = time.monotonic()
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _see(self, request: web.Request, body: bytes) -> Seen:
        session = request.headers.get(SESSION)
        with contextlib.suppress(ValueError):
            message: Any = json.loads(body) if body else {}
        method = message.get("method", request.method) if isinstance(message, dict) else request.method
        connection = self.connections.setdefault(id(request.transport), len(self.connections))
        node = self.homes.get(session or "", -1)
        if node < 0 or not self.sticky:
            node = next(self.turn)
        now = time.monotonic()
        idle = now - self.used.get(session or "", now)
        if session is not None:
            self.used[session] = now
        return Seen(
            number=next(self.count),
            connection=connection,
            node=node,
            method=method,
            session=session,
            opened_here=self.opened_on.get(session or "") == connection,
            seconds=now - self.began,
            idle_seconds=idle,
            sessions=len(self.homes),
            origin=request.headers.get("Origin"),
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = self._see(request, body)
        broken = self.broken if self.broken.when(seen) else Break()
        await asyncio.sleep(broken.delay_seconds)
        if broken.cut:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if broken.answer is not None:
            return _page(broken.answer)
        gone = {*_OF_THE_HOP, *(name.lower() for name in broken.drop_in)}
        headers = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in gone)
        url = f"{self.nodes[seen.node]}{request.raw_path}"
        try:
            async with self.http.request(
                request.method, url, data=body or None, headers=headers, allow_redirects=False
            ) as came:
                return await self._pass_on(request, seen, broken, came)
        except aiohttp.ClientError:  # cut behind it is cut before it
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _pass_on(
        self, request: web.Request, seen: Seen, broken: Break, came: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        minted = came.headers.get(SESSION)
        if minted is not None and minted not in self.homes:
            self.homes[minted] = seen.node
            self.opened_on[minted] = seen.connection
        if request.method == "DELETE" and came.status < 300:
            self.homes.pop(seen.session or "", None)
        if came.status in broken.rewrite:
            return _page(broken.rewrite[came.status])
        gone = {*_OF_THE_HOP, *(name.lower() for name in broken.drop_out)}
        names = {name.lower(): other for name, other in broken.rename_out.items()}
        headers = CIMultiDict(
            (names.get(name.lower(), name), value) for name, value in came.headers.items() if name.lower() not in gone
        )
        headers.update(broken.add_out)
        if broken.buffer:
            return web.Response(status=came.status, headers=headers, body=await came.read())
        response = web.StreamResponse(status=came.status, headers=headers)
        if "Content-Length" in came.headers and came.status != 204:
            response.content_length = int(came.headers["Content-Length"])
        with contextlib.suppress(ConnectionError):  # the client has gone
            await response.prepare(request)
            async for piece in came.content.iter_any():
                await response.write(piece)
            await response.write_eof()
        return response


def _page(answer: tuple[int, str, str]) -> web.Response:
    status, media_type, text = answer
    return web.Response(status=status, content_type=media_type, text=text)


@contextlib.asynccontextmanager
async def breaking(
    nodes: Sequence[str], broken: Break | None = None, *, sticky: bool = True, path: str = "/mcp"
) -> AsyncIterator[str]:
    """The URL of the MCP endpoint of these nodes, behind the breaking proxy."""
    proxy = _Proxy(nodes, broken or Break(), sticky=sticky)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", proxy.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}{path}"
    finally:
        await runner.cleanup()
        await proxy.http.close()
