"""An MCP server that keeps a ledger of its sessions, and may misbehave: for what the doctor leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.doctor.serving import serving


@dataclass
class Ledger:
    """
    Attributes:
        opened: every session id that was ever given out; `live` those that were not deleted.
        methods: the JSON-RPC and HTTP methods that came, in their order.
        mints_always: opens a session for any POST without an id, as the Python SDK 1.x does.
        lost_share: every so many-th request within a session meets a node that does not know it; 0 for none.
        hangs_on: the methods that are never answered.
        gate: where set, `initialize` is answered only once it is open.
    """

    url: str = ""
    opened: list[str] = field(default_factory=list)
    live: set[str] = field(default_factory=set)
    methods: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    mints_always: bool = False
    allows_delete: bool = True
    lost_share: int = 0
    hangs_on: frozenset[str] = frozenset()
    gate: asyncio.Event | None = None
    _asked: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        session_id = request.headers.get("Mcp-Session-Id")
        message: dict[str, Any] = await request.json() if request.method == "POST" else {}
        method = message.get("method", request.method)
        self.methods.append(method)
        if method in self.hangs_on:
            await asyncio.Event().wait()
        if session_id is None:
            return await self._without_session(message)
        self._asked += 1
        if session_id not in self.live or (self.lost_share and self._asked % self.lost_share):
            return web.json_response(_error(message, "Session not found"), status=404)
        if request.method == "DELETE":
            if not self.allows_delete:
                return web.Response(status=405)
            self.live.discard(session_id)
            return web.Response(status=204)
        if "id" not in message:
            return web.Response(status=202 if request.method == "POST" else 405)
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": {}})

    async def _without_session(self, message: dict[str, Any]) -> web.Response:
        is_initialize = message.get("method") == "initialize"
        headers = {}
        if is_initialize or (self.mints_always and message):
            headers["Mcp-Session-Id"] = session_id = uuid.uuid4().hex
            self.opened.append(session_id)
            self.live.add(session_id)
        if not is_initialize:
            return web.json_response(_error(message, "Missing session ID"), status=400, headers=headers)
        if self.gate is not None:
            await self.gate.wait()
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {},
            "serverInfo": {"name": "ledger", "version": "1"},
        }
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


def _error(message: dict[str, Any], text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": -32600, "message": text}}


@contextlib.asynccontextmanager
async def running_ledger(**options: Any) -> AsyncIterator[Ledger]:
    ledger = Ledger(**options)
    async with serving(ledger.answer) as ledger.url:
        yield ledger
