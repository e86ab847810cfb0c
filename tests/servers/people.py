"""Servers for two people, Alice and Bob, that keep a ledger of what was carried out, and for whom they did it.

There is one for each SDK and each way to authenticate. They keep what they said, for whoever was
cut off. The ledger is read at `/ledger`, which is not Mooring's.
"""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any, Final, Literal

from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse

from mooring.asgi import App
from tests.servers import fixtures
from tests.servers.context_tools import ToolContext, for_context
from tests.servers.event_store import MemoryEventStore
from tests.servers.tokens import USERS

Sdk = Literal["v1", "v2", "fastmcp"]
Auth = Literal["bearer", "starlette", "nobody", "optional bearer"]
"""`bearer` is the SDK's own, and answers 401 to whoever has no token. `starlette` is Starlette's middleware, and
`optional bearer` the same with the SDK's users: both let everybody in, with or without a name."""

_URL: Final = "http://127.0.0.1/mcp"
_ISSUER: Final = "https://issuer.example"
_LINGER_SECONDS: Final = 30.0


class Ledger:
    """What was carried out, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    async def count(self, ctx: ToolContext) -> int:
        """Counts what was carried out."""
        self.entries.append("counted")
        return len(self.entries)

    async def linger(self, ctx: ToolContext) -> str:
        """Takes its time, and says if it is told to stop."""
        self.entries.append("lingers")
        try:
            await asyncio.sleep(_LINGER_SECONDS)
        except asyncio.CancelledError:
            self.entries.append("cancelled")
            raise
        return "done"

    async def ask(self, ctx: ToolContext) -> str:
        """Asks the user for a name."""
        self.entries.append("asks")
        answer = await ctx.session.elicit_form("What is your name?", fixtures.NAME_SCHEMA, ctx.request_id)
        self.entries.append(f"was told {(answer.content or {}).get('name', answer.action)}")
        return "done"


def make_app(sdk: Sdk, auth: Auth) -> App:
    """The server as an ASGI application, with its authentication inside."""
    ledger = Ledger()
    server, context_class, app_of = _SERVERS[sdk](auth == "bearer")
    for tool in (ledger.count, ledger.linger, ledger.ask):
        server.tool(name=tool.__name__)(_as_function(tool, context_class))

    @server.custom_route("/ledger", methods=["GET"])  # type: ignore[untyped-decorator]
    async def tell(request: Request) -> JSONResponse:
        return JSONResponse(ledger.entries)

    app: App = app_of(server)
    return app if auth in ("bearer", "nobody") else authenticated(app, auth)


def authenticated(app: App, auth: Auth = "starlette") -> App:
    """The app behind Starlette's middleware, which names the user and turns nobody away."""
    backend = Names() if auth == "starlette" else _bearer_backend()
    return AuthenticationMiddleware(app, backend=backend)


class Names(AuthenticationBackend):
    """Knows people by their tokens, and passes everybody else on without a name."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = USERS.get(conn.headers.get("authorization", "").removeprefix("Bearer "))
        return None if name is None else (AuthCredentials(), SimpleUser(name))


class _Tokens:
    """The SDK's token verifier."""

    async def verify_token(self, token: str) -> Any:
        name = USERS.get(token)
        if name is None:
            return None
        access_token = importlib.import_module("mcp.server.auth.provider").AccessToken
        return access_token(token=token, client_id="client", scopes=[], subject=name, claims={"iss": _ISSUER})


def _bearer_backend() -> AuthenticationBackend:
    backend: AuthenticationBackend = importlib.import_module(
        "mcp.server.auth.middleware.bearer_auth"
    ).BearerAuthBackend(_Tokens())
    return backend


def _as_function(tool: Callable[..., Any], context_class: type[Any]) -> Callable[..., Any]:
    async def call(ctx: ToolContext) -> Any:
        return await tool(ctx)

    call.__name__, call.__doc__ = tool.__name__, tool.__doc__
    return for_context(call, context_class)


def _auth_options(is_protected: bool) -> dict[str, Any]:
    if not is_protected:
        return {}
    settings = importlib.import_module("mcp.server.auth.settings").AuthSettings
    return {
        "token_verifier": _Tokens(),
        "auth": settings(issuer_url=_URL, resource_server_url=_URL, validate_token_resource=False),
    }


def _v1(is_protected: bool) -> tuple[Any, type[Any], Callable[[Any], Any]]:
    module = importlib.import_module("mcp.server.fastmcp")
    server = module.FastMCP("people", log_level="WARNING", **_auth_options(is_protected))
    server._event_store = MemoryEventStore()
    return server, module.Context, lambda server: server.streamable_http_app()


def _v2(is_protected: bool) -> tuple[Any, type[Any], Callable[[Any], Any]]:
    module = importlib.import_module("mcp.server.mcpserver")
    server = module.MCPServer("people", log_level="WARNING", **_auth_options(is_protected))
    return server, module.Context, lambda server: server.streamable_http_app(event_store=MemoryEventStore())


def _fastmcp(is_protected: bool) -> tuple[Any, type[Any], Callable[[Any], Any]]:
    module = importlib.import_module("fastmcp")
    verifier = importlib.import_module("fastmcp.server.auth.providers.jwt").StaticTokenVerifier
    tokens = {token: {"client_id": "client", "sub": name, "iss": _ISSUER} for token, name in USERS.items()}
    server = module.FastMCP("people", **({"auth": verifier(tokens)} if is_protected else {}))
    event_store = importlib.import_module("fastmcp.server.event_store").EventStore
    return server, module.Context, lambda server: server.http_app(path="/mcp", event_store=event_store())


_SERVERS: Final = {"v1": _v1, "v2": _v2, "fastmcp": _fastmcp}
