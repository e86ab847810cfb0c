"""Small MCP apps that are not the SDK's: they say exactly what a test needs them to say."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from mooring.asgi import Receive, Scope, Send, route_of

Answer = Callable[[Scope, bytes, Send], Awaitable[None]]


def initialize_result(request_id: Any, protocol: str = "2025-11-25") -> bytes:
    result = {"protocolVersion": protocol, "capabilities": {}, "serverInfo": {"name": "scripted", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode()


class ScriptedApp:
    """Mints its own session ids (`inner-1`, ...), which Mooring cannot set; keeps what it was asked.

    Attributes:
        asked: method, session id and body of each request on the MCP path.
        user: put into the scope, as authentication middleware does, when it is not None.
        unread: answers every request before it is read.
        gate: answers every request, session or not, as authentication does that turns somebody away.
        on_session: answers requests that carry a session id; by default 200 and `{"served": n}`.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, bytes]] = []
        self.scopes: list[Scope] = []
        self.sessions: set[str] = set()
        self.user: Callable[[Scope], Any] | None = None
        self.unread: Answer | None = None
        self.gate: Answer | None = None
        self.on_session: Answer | None = None
        self.disconnected = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.scopes.append(scope)
        if self.user is not None:
            scope["user"] = self.user(scope)
        session_id = next((value.decode() for name, value in scope["headers"] if name == b"mcp-session-id"), None)
        if self.unread is not None:
            await self.unread(scope, b"", send)
            return
        body = await self._read(receive)
        if body is None:
            self.disconnected += 1
            return
        self.asked.append((scope["method"], session_id, body))
        if not route_of(scope).startswith("/mcp"):
            await answer(send, 200, b'{"other": true}')
        elif self.gate is not None:
            await self.gate(scope, body, send)
        elif session_id is None:
            await self._open(body, send)
        elif session_id not in self.sessions:
            await answer(send, 404, b'{"error": "inner says no"}', session_id)
        elif self.on_session is not None:
            await self.on_session(scope, body, send)
        elif scope["method"] == "DELETE":
            self.sessions.discard(session_id)
            await answer(send, 200, b"", session_id)
        else:
            await answer(send, 200, json.dumps({"served": len(self.asked)}).encode(), session_id)

    async def _open(self, body: bytes, send: Send) -> None:
        inner_id = f"inner-{len(self.asked)}"
        try:
            message = json.loads(body)
        except ValueError:
            message = {}
        if message.get("method") != "initialize":
            await answer(send, 400, b'{"error": "initialize first"}', inner_id)
            return
        self.sessions.add(inner_id)
        await answer(send, 200, initialize_result(message.get("id")), inner_id)

    async def _read(self, receive: Receive) -> bytes | None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += bytes(message.get("body", b""))
            if not message.get("more_body", False):
                return body


async def answer(send: Send, status: int, body: bytes, session_id: str | None = None) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if session_id is not None:
        headers.append((b"Mcp-Session-Id", session_id.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
