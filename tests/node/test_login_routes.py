"""Finding the routes of a login in the apps of SDK v2, FastMCP and others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import fastmcp
import pytest
from fastmcp.server.auth.oauth_proxy import OAuthProxy
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route

from mooring.node.login_routes import login_paths


async def _page(request: Any) -> Any:
    raise NotImplementedError


def _login(*more: str) -> list[Route]:
    return [Route(path, _page) for path in ("/authorize", "/token", *more)]


def test_apps_without_a_login_have_none() -> None:
    for app in (MCPServer("test").streamable_http_app(), fastmcp.FastMCP("test").http_app(), _page, object()):
        assert login_paths(app) == ()
    assert login_paths(Starlette(routes=[Route("/authorize", _page), Route("/login", _page)])) == ()


def test_the_routes_of_an_oauth_proxy_with_its_callback_and_its_pages() -> None:
    proxy = OAuthProxy(
        upstream_authorization_endpoint="https://idp.example/authorize",
        upstream_token_endpoint="https://idp.example/token",
        upstream_client_id="client",
        upstream_client_secret="a secret for tests",
        token_verifier=StaticTokenVerifier({"t": {"client_id": "c", "scopes": []}}),
        base_url="http://127.0.0.1:9",
        redirect_path="/signed-in",
        jwt_signing_key="a key for tests",
    )
    found = login_paths(fastmcp.FastMCP("test", auth=proxy).http_app())
    assert {"/authorize", "/token", "/register", "/consent", "/signed-in"} <= set(found)
    assert not any(path.startswith("/.well-known") or path == "/mcp" for path in found)


def test_routes_are_found_through_mounts_and_middleware() -> None:
    inner = Starlette(routes=_login("/auth/callback", "/.well-known/jwks.json", "/about", "/token/{id}"))
    app: Any = CORSMiddleware(Starlette(routes=[Mount("/auth", app=CORSMiddleware(inner))]))
    assert login_paths(app) == tuple(
        f"/auth{path}" for path in ("/authorize", "/token", "/auth/callback", "/.well-known/jwks.json")
    )


def test_each_of_several_logins_is_found_once() -> None:
    provider = fastmcp.FastMCP("test", auth=InMemoryOAuthProvider(base_url="http://127.0.0.1:9")).http_app()
    app = Starlette(routes=[*_login(), Mount("/a", app=provider), Mount("/b", routes=_login()), *_login()])
    assert login_paths(app) == ("/authorize", "/token", "/a/authorize", "/a/token", "/b/authorize", "/b/token")


@pytest.mark.parametrize("path", ["/{tenant}", "/{tenant}/x"])
def test_a_mount_whose_path_varies_has_no_paths_to_name(path: str) -> None:
    assert login_paths(Starlette(routes=[Mount(path, routes=_login())])) == ()


def test_an_app_that_contains_itself_ends() -> None:
    app = SimpleNamespace()
    app.app = app
    assert login_paths(app) == ()
    app.routes = [app]
    assert login_paths(app) == ()
