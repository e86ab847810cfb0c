"""The MCP apps that are measured, with Mooring and without."""

from __future__ import annotations

import json
from typing import Any, Final

import mcp.server.streamable_http_manager as session_manager
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.messages import PROTOCOL_VERSION

_INITIALIZED: Final = {
    "jsonrpc": "2.0",
    "id": 0,
    "result": {
        "protocolVersion": PROTOCOL_VERSION,
        "capabilities": {},
        "serverInfo": {"name": "instant", "version": "1"},
    },
}
_CALLED: Final = {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "3"}]}}


async def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


def sdk_v2() -> Any:
    """SDK v2 with one small tool, as its defaults are: legacy answers are SSE, one app for both eras."""
    server = MCPServer("bench", log_level="ERROR")
    server.add_tool(add)
    return server.streamable_http_app()


def sdk_v2_state() -> Any:
    """The same with tools that use the session's state: none, one that looks, one that changes it, and one that may be
    carried out again."""
    from mooring import session_state, transactional  # other servers have nothing of it, in memory neither

    server = MCPServer("bench", log_level="ERROR")

    async def look() -> int:
        return int(session_state().get("n", 0))

    async def change() -> int:
        state = session_state()
        state.setdefault("padding", "x" * 1_000)
        state["n"] = state.get("n", 0) + 1
        return int(state["n"])

    @transactional
    async def change_once() -> int:
        return await change()

    for tool in (add, look, change, change_once):
        server.add_tool(tool)
    return server.streamable_http_app()


def instant() -> Any:
    """A bare Starlette app that answers at once, whatever it was asked."""
    initialized, called = json.dumps(_INITIALIZED).encode(), json.dumps(_CALLED).encode()

    async def answer(request: Request) -> Response:
        if b'"initialize"' not in await request.body():
            return Response(called, media_type="application/json")
        # Minted where the SDK mints its own, so that Mooring can have its id used here too.
        session_id: str = getattr(session_manager, "uuid4")().hex  # noqa: B009 - not among the module's public names
        return Response(initialized, media_type="application/json", headers={"Mcp-Session-Id": session_id})

    return Starlette(routes=[Route("/mcp", answer, methods=["POST"])])
