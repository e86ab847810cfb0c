"""The ledger's server with sessions and streams kept by mcp-persist, as its README has it, and a health check."""

from __future__ import annotations

import os
from typing import Any

from mcp_persist import with_persistence
from starlette.responses import PlainTextResponse
from tests.servers.ledger_v2 import server

_kept = with_persistence(server, backend="redis", url=os.environ["REDIS_URL"], durable_sessions=True, ttl=3600)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/healthz":
        await PlainTextResponse("well")(scope, receive, send)
    else:
        await _kept(scope, receive, send)
