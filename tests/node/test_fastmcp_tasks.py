"""Where FastMCP keeps its tasks is seen in its app, and what is right for them follows unless the operator says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastmcp import Client, FastMCP
from fastmcp.server.auth.providers.jwt import StaticTokenVerifier
from fastmcp.utilities.tasks import TaskConfig
from fastmcp_tasks import TasksExtension
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

import mooring
from mooring import Mooring, Settings
from mooring.node.fastmcp_tasks import with_tasks_of
from tests.cluster_in_process import running_nodes

SHARED = {"redis_url": "redis://localhost:1", "secret": "sixteen or more of them"}


def app_with(*extensions: Any) -> Any:
    server = FastMCP("tasks")
    for extension in extensions:
        server.add_extension(extension)
    return server.http_app()


def page(_: Request) -> Response:
    return Response()


def test_tasks_in_memory_are_brought_back_to_their_process(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mooring")
    node = Mooring(app_with(TasksExtension()), Settings.load(**SHARED))
    assert node.settings.tasks == "node"
    [record] = [record for record in caplog.records if record.name == "mooring.handles"]
    assert record.levelname == "INFO"
    assert 'tasks = "node"' in record.getMessage()


@pytest.mark.parametrize(
    "around",
    [
        lambda app: Starlette(routes=[Mount("/", app)]),
        lambda app: Starlette(
            routes=[Route("/", lambda _: Response()), Mount("/tools", Starlette(routes=[Mount("/", app)]))]
        ),
        lambda app: CORSMiddleware(app, allow_origins=["*"]),
        lambda app: Starlette(routes=[Mount("/", app, middleware=[Middleware(GZipMiddleware)])]),
    ],
    ids=["mounted", "mounted in what is mounted", "in middleware", "mounted with middleware"],
)
def test_so_are_those_of_an_app_within_another(around: Callable[[Any], Any]) -> None:
    app = around(app_with(TasksExtension()))
    assert with_tasks_of(app, Settings.load(**SHARED)).tasks == "node"


def test_an_app_that_contains_itself_has_an_end() -> None:
    app = SimpleNamespace(routes=[])
    app.app = app
    assert with_tasks_of(app, Settings.load(**SHARED)).tasks == "shared"


@pytest.mark.parametrize(
    "app",
    [
        app_with(TasksExtension(url="redis://localhost:1")),
        app_with(),
        Starlette(),
        Starlette(routes=[Mount("/", app_with(TasksExtension(url="redis://localhost:1")))]),
        object(),
        SimpleNamespace(state=SimpleNamespace(fastmcp_server=SimpleNamespace(_extensions=["something else"]))),
    ],
    ids=["redis", "no tasks", "no FastMCP", "redis, mounted", "no Starlette", "another's"],
)
def test_of_others_nothing_is_known(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.load(**SHARED)
    assert with_tasks_of(app, settings) is settings
    assert settings.tasks == "shared"
    assert not caplog.records


def test_the_docket_is_where_fastmcps_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMCP_DOCKET_URL", "redis://localhost:1")
    assert with_tasks_of(app_with(TasksExtension()), Settings.load(**SHARED)).tasks == "shared"


def test_a_single_node_has_nobody_to_ask() -> None:
    assert with_tasks_of(app_with(TasksExtension()), Settings.load()).tasks == "shared"


@pytest.mark.parametrize(("tasks", "warns"), [("shared", True), ("node", False)])
def test_the_operators_word_counts(
    tasks: str, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MOORING_TASKS", tasks)
    assert with_tasks_of(app_with(TasksExtension()), Settings.load(**SHARED)).tasks == tasks
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warns
    assert all("FASTMCP_DOCKET_URL" in record.getMessage() for record in caplog.records)


def signed_in_server() -> Any:
    """Its tool mints in a task, which has no request any more."""
    tokens: Any = {name: {"client_id": name, "scopes": []} for name in ("ann", "bob")}
    server = FastMCP("signed in", auth=StaticTokenVerifier(tokens=tokens))
    server.add_extension(TasksExtension())

    @server.tool(task=TaskConfig(mode="required"))
    async def begin() -> str:
        return mooring.new_handle("work")

    @server.tool
    async def look(work: str) -> str:
        return f"looked at {work}"

    return server.http_app(path="/mcp")


async def test_what_a_task_mints_is_for_whoever_it_works_for() -> None:
    async with running_nodes(signed_in_server, 1) as [node]:
        async with Client(f"{node.url}/mcp", auth="ann") as ann:
            work = (await ann.call_tool("begin", {})).data
            assert (await ann.call_tool("look", {"work": work})).data == f"looked at {work}"
        async with Client(f"{node.url}/mcp", auth="bob") as bob:
            refused = await bob.call_tool("look", {"work": work}, raise_on_error=False)
    assert refused.is_error
    assert "There is no handle" in refused.content[0].text
