"""Apps of the shapes that people's servers have; SHAPE chooses one, and the environment's SDK the generation.

Each server counts the calls of a session in the memory of this process, and says its own name with the count.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

_counts: Final[Counter[str]] = Counter()


def _session_of(ctx: Any) -> str:
    """SDK v1 has the request in its context, and v2 the headers."""
    headers = getattr(ctx, "headers", None) or ctx.request_context.request.headers
    return str(headers["mcp-session-id"])


def _count(name: str, session: str) -> str:
    _counts[session] += 1
    return f"{name} {_counts[session]}"


def _v1(name: str, path: str) -> Any:
    module = importlib.import_module("mcp.server.fastmcp")
    server = module.FastMCP(name, log_level="WARNING", streamable_http_path=path, json_response=True)

    def count(ctx: Any) -> str:
        return _count(name, _session_of(ctx))

    count.__annotations__["ctx"] = module.Context
    server.tool()(count)
    return server.streamable_http_app()


def _v2(name: str, path: str) -> Any:
    module = importlib.import_module("mcp.server.mcpserver")
    server = module.MCPServer(name, log_level="WARNING")

    def count(ctx: Any) -> str:
        return _count(name, _session_of(ctx))

    count.__annotations__["ctx"] = module.Context[Any]
    server.tool()(count)
    return server.streamable_http_app(streamable_http_path=path, json_response=True)


def _fastmcp(name: str, path: str) -> Any:
    module = importlib.import_module("fastmcp")
    server = module.FastMCP(name)
    headers = importlib.import_module("fastmcp.server.dependencies").get_http_headers

    @server.tool  # type: ignore[misc, untyped-decorator, unused-ignore]
    def count() -> str:
        return _count(name, headers(include_all=True)["mcp-session-id"])

    return server.http_app(path=path, json_response=True)


def _fastapi(name: str, path: str) -> Any:
    """An API whose endpoints are the tools (fastapi-mcp, on SDK v1); the session's id is handed on in its header."""
    fastapi, fastapi_mcp = importlib.import_module("fastapi"), importlib.import_module("fastapi_mcp")
    api = fastapi.FastAPI()

    @api.get("/count", operation_id="count", response_class=PlainTextResponse)  # type: ignore[misc, untyped-decorator, unused-ignore]
    async def count(request: Request) -> str:
        return _count(name, request.headers["mcp-session-id"])

    fastapi_mcp.FastApiMCP(api, headers=["mcp-session-id"]).mount_http(mount_path=path)
    return api


_MAKE: Final[dict[str, Callable[[str, str], Any]]] = {
    "v1": _v1,
    "fastapi-v1": _fastapi,
    "v2": _v2,
    "fastmcp": _fastmcp,
}
_make: Final = _MAKE[os.environ.get("SDK", "v2")]


def _together(*apps: Any) -> Callable[[Any], contextlib.AbstractAsyncContextManager[None]]:
    """The lifespans of all of them, as their authors would run them."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for app in apps:
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield

    return lifespan


async def _about(request: Request) -> PlainTextResponse:
    return PlainTextResponse("about")


async def _echo(request: Request) -> PlainTextResponse:
    """Something of the app's own, which takes JSON as an endpoint does."""
    return PlainTextResponse((await request.body()).decode())


def _two() -> Any:
    """Two servers in one app: /alpha/mcp and /beta/mcp."""
    alpha, beta = _make("alpha", "/mcp"), _make("beta", "/mcp")
    own = [Route("/about", _about), Route("/echo", _echo, methods=["POST"])]
    return Starlette(routes=[*own, Mount("/alpha", alpha), Mount("/beta", beta)], lifespan=_together(alpha, beta))


def _dynamic() -> Any:
    """One server for each of many ids: /servers/{id}/mcp."""
    server = _make("server", "/mcp")
    return Starlette(routes=[Mount("/servers/{id}", server)], lifespan=_together(server))


def _root() -> Any:
    """The endpoint is /, and the rest of the app lies below it."""
    server = _make("root", "/")
    return Starlette(
        routes=[Route("/about", _about), Mount("/", server)],
        lifespan=_together(server),
    )


def _prefix() -> Any:
    """Everything below /api: /api/v1/mcp."""
    server = _make("prefix", "/mcp")
    inner = Starlette(routes=[Mount("/v1", server)])
    return Starlette(routes=[Mount("/api", inner)], lifespan=_together(server))


def _one() -> Any:
    """The endpoint is /mcp, and there is nothing else."""
    return _make("one", "/mcp")


def _for_pages() -> Any:
    """The same for web pages of any origin, as far as the app's author opens it."""
    opened = _one()
    opened.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Mcp-Session-Id"],
    )
    return opened


_SHAPES: Final[dict[str, Callable[[], Any]]] = {
    "one": _one,
    "pages": _for_pages,
    "two": _two,
    "dynamic": _dynamic,
    "root": _root,
    "prefix": _prefix,
}

app: Final = _SHAPES[os.environ.get("SHAPE", "two")]()
