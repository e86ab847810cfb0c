"""Requests to a node without a server between: message by message, as ASGI has them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from mooring import Mooring, Settings
from mooring.asgi import App, HeaderList, Message, Scope
from mooring.store import MemoryStore, Store
from tests.cluster_in_process import SECRET
from tests.node.rpc import INITIALIZE

QUIET = {"heartbeat_seconds": 60, "lease_seconds": 600}
"""No heartbeat during a test but those that it makes."""


class Request:
    """One request, and what was sent back so far. The client stays until the app is done, or until it leaves.

    Args:
        is_whole: the last of `pieces` is the last of the body.

    Attributes:
        scope: as the server gives it; a test may put more into it.
        sent: every message of the answer.
    """

    def __init__(
        self,
        method: str = "POST",
        path: str = "/mcp",
        *,
        query: bytes = b"",
        session: str | None = None,
        headers: HeaderList | None = None,
        pieces: Iterable[bytes] = (b"",),
        is_whole: bool = True,
    ) -> None:
        given = [(b"mcp-session-id", session.encode())] if session is not None else []
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": [*given, *(headers or [])],
        }
        self.sent: list[Message] = []
        self._left = asyncio.Event()
        *first, last = pieces
        self._pieces = [
            *({"type": "http.request", "body": piece, "more_body": True} for piece in first),
            {"type": "http.request", "body": last, "more_body": not is_whole},
        ]

    async def to(self, app: App) -> Request:
        await app(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> Message:
        if not self._pieces:
            await self._left.wait()
            return {"type": "http.disconnect"}
        return self._pieces.pop(0)

    def leave(self) -> None:
        self._left.set()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return {name.lower(): value for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def reason(self) -> str:
        """Why Mooring refused."""
        return str(json.loads(self.body)["error"]["data"]["reason"])

    @property
    def session_id(self) -> str:
        return self.headers[b"mcp-session-id"].decode()


def initialize(**options: Any) -> Request:
    return Request(pieces=[json.dumps(INITIALIZE).encode()], **options)


@contextlib.asynccontextmanager
async def joined(app: App, store: Store | None = None, **settings: Any) -> AsyncIterator[Mooring]:
    """A node that has joined its cluster, around `app`, whose lifespan nobody runs."""
    mooring = a_mooring(app, store, **settings)
    await mooring._node.start()
    try:
        yield mooring
    finally:
        await mooring._node.stop()


def a_mooring(app: App, store: Store | None = None, **settings: Any) -> Mooring:
    known: dict[str, Any] = {"node_name": "node-1", "secret": SECRET, **QUIET}
    return Mooring(app, Settings.load(**known | settings), store=MemoryStore() if store is None else store)
