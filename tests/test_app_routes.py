"""The routes of apps, at all levels."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from mooring.app_routes import apps_in, is_leaf, levels_of


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("")


def paths_in(app: Any) -> list[str]:
    return [above + route.path for above, routes in levels_of(app) for route in routes if is_leaf(route)]


def test_routes_are_found_through_mounts_and_middleware() -> None:
    inner = CORSMiddleware(Starlette(routes=[Route("/mcp", page)]))
    app = Starlette(
        routes=[Route("/about", page), Mount("/api/", inner), Mount("/each/{id}", inner), Mount("/", inner)]
    )
    assert paths_in(CORSMiddleware(app)) == ["/about", "/api/mcp", "/mcp"]


def test_an_app_that_contains_itself_has_an_end() -> None:
    app = Starlette(routes=[Route("/mcp", page)])
    app.router.routes.append(Mount("/again", app))
    assert paths_in(app)[:2] == ["/mcp", "/again/mcp"]
    assert len(paths_in(app)) < 100
    assert list(apps_in(app)) == [app]


def test_apps_are_found_within_others_each_once() -> None:
    inner = Starlette(routes=[Route("/mcp", page)])
    around = CORSMiddleware(inner)
    app = Starlette(routes=[Route("/about", page), Mount("/a", around), Mount("/b", inner)])
    assert {id(one) for one in apps_in(app)} == {id(app), id(around), id(inner)}
    assert len(list(apps_in(app))) == 3


def test_what_has_no_routes_has_none() -> None:
    assert paths_in(page) == []
