"""Servers that are wrong without any load balancer: python -m tests.servers.faults NAME=PORT…

All are in one process, each on a port of its own, so that a test starts them in the time of one.
"""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Final

import uvicorn
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.servers import small
from tests.servers.tokens import USERS

METADATA_PATH: Final = "/.well-known/oauth-protected-resource/mcp"

_healthy: Final = small.app
_slash: Final = small.make_app(streamable_http_path="/mcp/")
_other_host: Final = small.make_app(
    transport_security=TransportSecuritySettings(allowed_hosts=["mcp.example.com", "mcp.example.com:*"])
)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads every request and answers none."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def silent_in_session(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers `initialize`, and nothing else."""
    body = await Request(scope, receive).body()
    if scope["method"] != "POST" or json.loads(body).get("method") != "initialize":
        await silent(scope, receive, send)
        return
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    await _healthy(scope, replay, send)


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """A web page, at any path and for any method."""
    await HTMLResponse("<!doctype html><title>Welcome</title><h1>It works!</h1>")(scope, receive, send)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Fails, and tells all headers that it was sent, secrets included, as a debugging page does."""
    headers = dict(Headers(scope=scope))
    await JSONResponse({"error": "unexpected", "headers": headers}, 500)(scope, receive, send)


class Login:
    """Lets the two users in; where a stranger finds the authorization server is told as RFC 9728 says.

    With `bind`, a session belongs to the user who opened it, as with the SDK's own login. Without, the app never learns
    who asks, and who knows the id of a session may use it.
    """

    def __init__(self, *, bind: bool) -> None:
        self._bind = bind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        origin = str(request.base_url).rstrip("/")
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if request.url.path == METADATA_PATH:
            metadata = {"resource": f"{origin}/mcp", "authorization_servers": [origin]}
            await JSONResponse(metadata)(scope, receive, send)
        elif token not in USERS:
            challenge = f'Bearer error="invalid_token", resource_metadata="{origin}{METADATA_PATH}"'
            refusal = Response("Unauthorized", 401, {"WWW-Authenticate": challenge})
            await refusal(scope, receive, send)
        else:
            if self._bind:
                user = USERS[token]
                access = AccessToken(token=token, client_id="client", scopes=[], subject=user)
                scope = {**scope, "user": AuthenticatedUser(access)}
            await _healthy(scope, receive, send)


def moved(origin: str) -> ASGIApp:
    """Everything is at another origin now."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await RedirectResponse(f"{origin}{scope['path']}", 307)(scope, receive, send)

    return app


@contextlib.asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack:
        for app in (_healthy, _slash, _other_host):
            await stack.enter_async_context(app.router.lifespan_context(app))
        yield


def by_port(ports: Mapping[str, int]) -> Starlette:
    """One application for all: which of them is asked for shows in the port."""
    apps: dict[str, ASGIApp] = {
        "healthy": _healthy,
        "silent": silent,
        "silent_in_session": silent_in_session,
        "page": page,
        "login": Login(bind=True),
        "shared_sessions": Login(bind=False),
        "slash": _slash,
        "moved": moved(f"http://127.0.0.1:{ports['healthy']}"),
        "other_host": _other_host,
        "echo": echo,
    }
    of_port = {port: apps[name] for name, port in ports.items()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await of_port[scope["server"][1]](scope, receive, send)

    return Starlette(routes=[Mount("", app=app)], lifespan=_lifespan)


async def main(arguments: list[str]) -> None:
    ports = {name: int(port) for name, port in (argument.split("=") for argument in arguments)}
    sockets = [socket.create_server(("127.0.0.1", port)) for port in ports.values()]
    config = uvicorn.Config(by_port(ports), http="h11", log_level="warning")
    await uvicorn.Server(config).serve(sockets)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
