"""An MCP server in the test's own process that does what it is told to do wrong."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from mooring.doctor.client.protocol import HEADER_MISMATCH, METHOD, MODERN_VERSION, SESSION, VERSION
from tests.doctor.serving import serving


def refusal(status: int, message: str = "Session not found", code: int = -32600) -> web.Response:
    """A JSON-RPC error under that status."""
    error = {"code": code, "message": message}
    return web.json_response({"jsonrpc": "2.0", "id": None, "error": error}, status=status)


def not_found(_: web.Request) -> web.Response:
    return refusal(404)


@dataclass
class Odd:
    """
    Attributes:
        live: the sessions that were opened, and not deleted.
        deleted: those that were.
        mint: makes an id.
        knows: whether the request, with this id, is served as one of a session.
        refuse: answers a request for a session that is not known.
        guard: answers before anything else is looked at, or None.
        delete_status: what a DELETE is answered with; it deletes where that is a success.
        is_modern: it speaks the modern era, and `checks_headers` as that asks.
        largest_body: in bytes; what is larger gets 413.
    """

    url: str = ""
    live: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    seen: list[web.Request] = field(default_factory=list)
    mint: Callable[[], str] = lambda: uuid.uuid4().hex
    knows: Callable[[web.Request, Odd], bool] = lambda request, odd: request.headers[SESSION] in odd.live
    refuse: Callable[[web.Request], web.Response] = not_found
    guard: Callable[[web.Request], web.Response | None] = lambda _: None
    delete_status: int = 204
    is_modern: bool = False
    checks_headers: bool = True
    largest_body: int = 64 * 1024 * 1024

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        guarded = self.guard(request)
        if guarded is not None:
            return guarded
        if request.method == "POST" and request.headers.get(VERSION) == MODERN_VERSION:
            return self._modern(request, await request.json())
        message: dict[str, Any] = await request.json() if request.method == "POST" else {}
        if message.get("method") == "initialize":
            return self._initialize(message)
        if SESSION not in request.headers:
            return refusal(400, "Missing session ID")
        if not self.knows(request, self):
            return self.refuse(request)
        if request.method == "DELETE":
            return self._delete(request)
        if request.method == "GET":
            return web.Response(status=405)
        if "id" not in message:
            return web.Response(status=202)
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": {}})

    def _initialize(self, message: dict[str, Any]) -> web.Response:
        session_id = self.mint()
        self.live.add(session_id)
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        }
        return web.json_response(
            {"jsonrpc": "2.0", "id": message["id"], "result": result}, headers={SESSION: session_id}
        )

    def _delete(self, request: web.Request) -> web.Response:
        if 200 <= self.delete_status < 300:
            self.live.discard(request.headers[SESSION])
            self.deleted.add(request.headers[SESSION])
        return web.Response(status=self.delete_status)

    def _modern(self, request: web.Request, message: dict[str, Any]) -> web.Response:
        if not self.is_modern:
            return refusal(400, "Unsupported protocol version", -32022)
        if self.checks_headers and request.headers.getall(METHOD, []) != [message["method"]]:
            return refusal(400, "mcp-method header does not match the request body's method", HEADER_MISMATCH)
        result = {"supportedVersions": [MODERN_VERSION], "capabilities": {"tools": {}}, "tools": []}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})


@contextlib.asynccontextmanager
async def running_odd(**options: Any) -> AsyncIterator[Odd]:
    odd = Odd(**options)
    async with serving(odd.answer, largest_body=odd.largest_body) as odd.url:
        yield odd
