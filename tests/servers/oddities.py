"""Servers of the official SDK that are set up as strangers set up theirs: python -m tests.servers.oddities NAME=PORT…

All are in one process, each on a port of its own, as those of `faults`.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Final

import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.servers import small


def _routes_of(*apps: Starlette) -> Starlette:
    """One app that has the routes of all."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for app in apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    return Starlette(routes=[route for app in apps for route in app.routes], lifespan=lifespan)


class Slow:
    """Every request waits."""

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await asyncio.sleep(self._seconds)
        await self._app(scope, receive, send)


class Buffering:
    """Answers are sent on once they are complete, as by a middleware that reads them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)
            if message["type"] != "http.response.start" and not message.get("more_body"):
                for one in held:
                    await send(one)
                held.clear()

        await self._app(scope, receive, hold if scope["type"] == "http" else send)


class OneClient:
    """One transport for all clients: it takes the first `initialize`, and refuses the next with an error in a 200."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._is_taken = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        message = json.loads(body)
        if message.get("method") == "initialize":
            if self._is_taken:
                error = {"code": -32600, "message": "Invalid Request: Server already initialized"}
                await JSONResponse({"jsonrpc": "2.0", "error": error, "id": None})(scope, receive, send)
                return
            self._is_taken = True
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return parts.pop() if parts else await receive()

        await self._app(scope, replay, send)


class Tokens(BaseHTTPMiddleware):
    """It takes one token, and no other."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        super().__init__(app)
        self._token = token

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return PlainTextResponse("Unauthorized", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return await call_next(request)


def _cors(app: ASGIApp, **options: object) -> ASGIApp:
    return CORSMiddleware(app, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"], **options)  # type: ignore[arg-type]


def _with_sse() -> Starlette:
    """HTTP+SSE at /sse beside Streamable HTTP at /mcp."""
    return _routes_of(small.make_app(), MCPServer("old", log_level="WARNING").sse_app())


APPS: Final[dict[str, ASGIApp]] = {
    "ends_idle_sessions": small.make_app(session_idle_timeout=3),
    "few_sessions": small.make_app(max_sessions=4),
    "one_client": OneClient(small.make_app()),
    "slow": Slow(small.make_app(), 1.5),
    "buffering": Buffering(small.make_app()),
    "hides_id_from_pages": _cors(small.make_app()),
    "open_to_pages": _cors(small.make_app(), expose_headers=["Mcp-Session-Id"]),
    "slash": small.make_app(streamable_http_path="/mcp/"),
    "other_path": small.make_app(streamable_http_path="/api/mcp"),
    "with_sse": _with_sse(),
    "token": Tokens(small.make_app(), "a-token"),
    "other_token": Tokens(small.make_app(), "another-token"),
    "json": small.make_app(json_response=True),
}


async def main(arguments: list[str]) -> None:
    servers = []
    for argument in arguments:
        name, _, port = argument.partition("=")
        servers.append(
            uvicorn.Server(uvicorn.Config(APPS[name], host="127.0.0.1", port=int(port), log_level="error")).serve()
        )
    await asyncio.gather(*servers)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
