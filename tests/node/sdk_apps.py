"""Apps of SDK v2: one for everybody, one for two people who have three tokens, and one whose work takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, MCPServer
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.routing import Mount

from mooring.asgi import App, Message, Receive, Scope, Send


def sdk_app(idle_seconds: float | None = None, **options: Any) -> App:
    server = MCPServer("test", **options)

    @server.tool()
    def whoami(ctx: Context[Any]) -> str:
        return (ctx.headers or {}).get("mcp-session-id", "")

    return server.streamable_http_app(session_idle_timeout=idle_seconds)


def mounted(app: Any, at: str) -> App:
    """The app within an app, below this path: the outer one's router writes that into the scope."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    return Starlette(routes=[Mount(at, app)], lifespan=lifespan)


class Tokens:
    """Knows three tokens; two are of one person."""

    async def verify_token(self, token: str) -> AccessToken | None:
        subject = {"alice-1": "alice", "alice-2": "alice", "mallory": "mallory"}.get(token)
        if subject is None:
            return None
        return AccessToken(
            token=token, client_id="client", scopes=[], subject=subject, claims={"iss": "https://issuer.example"}
        )


def protected_app() -> App:
    url = AnyHttpUrl("http://127.0.0.1/mcp")
    auth = AuthSettings(issuer_url=url, resource_server_url=url, validate_token_resource=False)
    return sdk_app(token_verifier=Tokens(), auth=auth)


class Workshop:
    """An app of SDK v2 or FastMCP 4 whose one tool works until it is told to finish.

    Attributes:
        ledger: what became of the work.
        finish: lets it end.
        leavings: how often the app heard that a client has left.
    """

    def __init__(self, make_server: Callable[..., Any], context_class: type[Any], **options: Any) -> None:
        self.ledger: list[str] = []
        self.finish = asyncio.Event()
        self.leavings = 0
        server = make_server("workshop")

        async def work(ctx: Any) -> str:
            """Works until it is told to finish."""
            self.ledger.append("begins")
            try:
                await self.finish.wait()
            except asyncio.CancelledError:
                self.ledger.append("cancelled")
                raise
            self.ledger.append("finished")
            return "done"

        work.__annotations__["ctx"] = context_class
        server.tool()(work)
        self._app: App = (
            server.http_app(path="/mcp", **options)
            if hasattr(server, "http_app")
            else server.streamable_http_app(**options)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def listen() -> Message:
            message = await receive()
            # Servers say the same of a client that has its whole answer.
            self.leavings += message["type"] == "http.disconnect"
            return message

        await self._app(scope, receive if scope["type"] == "lifespan" else listen, send)
