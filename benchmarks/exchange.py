"""A server's side of a request, in this process: what an ASGI app is called with, and what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks import messages
from mooring.asgi import App, Message, Scope


class Exchange:
    """One request and its answer. As with a real server, the client leaves after the answer's end, and not before."""

    def __init__(self, request: bytes) -> None:
        self._headers = messages.header_list(request)
        self._pending: list[Message] = [
            {"type": "http.request", "body": messages.body(request), "more_body": False},
        ]
        self._ended = asyncio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    def scope(self, path: str = "/mcp") -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": self._headers,
        }

    async def receive(self) -> Message:
        if self._pending:
            return self._pending.pop()
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message["headers"]
            return
        self.body += message.get("body", b"")
        if not message.get("more_body", False):
            self._ended.set()


async def call(app: App, request: bytes, path: str = "/mcp") -> Exchange:
    """The request, answered."""
    exchange = Exchange(request)
    await app(exchange.scope(path), exchange.receive, exchange.send)
    return exchange


async def open_session(app: App) -> str:
    """A session, its handshake done; its id.

    Raises:
        RuntimeError: none was opened.
    """
    opened = await call(app, messages.initialize())
    session_id = dict(opened.headers).get(b"mcp-session-id", b"").decode()
    if opened.status != 200 or not session_id:
        raise RuntimeError(f"no session was opened: {opened.status} {bytes(opened.body[:300])!r}")
    await call(app, messages.initialized(session_id))
    return session_id


@asynccontextmanager
async def started(app: App) -> AsyncIterator[None]:
    """The app between its start and its end (ASGI, Lifespan)."""
    told: asyncio.Queue[Message] = asyncio.Queue()
    heard: asyncio.Queue[Message] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    living = asyncio.ensure_future(app(scope, told.get, heard.put))
    try:
        await told.put({"type": "lifespan.startup"})
        said = await heard.get()
        if said["type"] != "lifespan.startup.complete":
            raise RuntimeError(f"the app did not start: {said}")
        yield
    finally:
        await told.put({"type": "lifespan.shutdown"})
        await living
