"""A target is asked what it serves, and a line in the log says so; with the SDK's own apps and with odd ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from mooring import Settings
from mooring.asgi import App, Receive, Scope, Send, respond
from mooring.hosting import exchange
from mooring.hosting.first_question import FirstQuestion
from tests.node.apps import ScriptedApp

HOST = "127.0.0.1:8000"


async def said_of(app: App, caplog: pytest.LogCaptureFixture, *paths: str, **options: Any) -> list[str]:
    """The lines, each with its level."""
    with caplog.at_level(logging.INFO, "mooring.serve"):
        await FirstQuestion(app, paths or ("/mcp",), options.get("host", HOST), options.get("state", {})).ask()
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == "mooring.serve"]


@contextlib.asynccontextmanager
async def sdk_app(path: str = "/mcp", above: str = "", **options: Any) -> AsyncIterator[Starlette]:
    server = MCPServer("counter", version="1.2", log_level="WARNING")
    inner = server.streamable_http_app(streamable_http_path=path, **options)
    async with inner.router.lifespan_context(inner):
        yield Starlette(routes=[Mount(above, inner)]) if above else inner


@pytest.mark.parametrize("options", [{}, {"json_response": True}])
async def test_the_sdks_app_says_what_it_is(options: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    async with sdk_app(**options) as app:
        assert await said_of(app, caplog) == [
            "INFO the target serves MCP at /mcp: counter 1.2, revisions 2025-11-25 with sessions, 2026-07-28"
        ]


async def test_one_without_sessions(caplog: pytest.LogCaptureFixture) -> None:
    async with sdk_app(stateless_http=True) as app:
        (line,) = await said_of(app, caplog)
        assert "2025-11-25 without sessions" in line


async def test_each_of_several_paths_is_asked_but_no_pattern(caplog: pytest.LogCaptureFixture) -> None:
    async with sdk_app() as app:
        lines = await said_of(app, caplog, "/servers/{id}/mcp", "/mcp", "/other")
        assert [line.partition(":")[0].partition(";")[0] for line in lines] == [
            "INFO the target serves MCP at /mcp",
            "WARNING the target answers 404 at /other",
        ]


@pytest.mark.parametrize(("path", "found"), [("/mcp", "/api/mcp"), ("/tools", "/api/tools")])
async def test_one_that_serves_elsewhere(path: str, found: str, caplog: pytest.LogCaptureFixture) -> None:
    async with sdk_app(path, "/api") as app:
        assert await said_of(app, caplog) == [
            f"WARNING the target answers 404 at /mcp; it serves MCP at {found}: set mcp_path to {found}, "
            "which tells the ingress, too"
        ]


async def test_one_whose_path_ends_with_a_slash_which_no_setting_does(caplog: pytest.LogCaptureFixture) -> None:
    async with sdk_app("/", "/api") as app:
        (line,) = await said_of(app, caplog)
        assert "it serves MCP at /api/: set mcp_path to /api, which" in line
        assert Settings.load(mcp_path="/api").endpoints == ("/api",)
        _, line = await said_of(app, caplog, "/api")
        assert line.startswith("INFO the target serves MCP at /api/: counter 1.2")


async def test_what_may_do_something_else_is_not_asked(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    async def page(request: Any) -> Any:
        asked.append(request.url.path)

    app = Starlette(routes=[Route("/orders", page, methods=["POST"]), Route("/sse", page)])
    (line,) = await said_of(app, caplog)
    assert line == (
        "WARNING the target answers 404 at /mcp; it has the older HTTP+SSE transport at /sse, which works as it is"
    )
    *_, line = await said_of(Starlette(), caplog)
    assert line.endswith("at /mcp, and nothing was found that serves MCP elsewhere: set mcp_path to where it does")
    assert asked == []


async def test_the_session_that_it_opens_is_closed_again(caplog: pytest.LogCaptureFixture) -> None:
    app = ScriptedApp()
    await said_of(app, caplog)
    assert [(method, session) for method, session, _ in app.asked][:2] == [("POST", None), ("DELETE", "inner-1")]
    assert app.sessions == set()


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (401, "INFO the target wants a login at /mcp (HTTP 401 for 127.0.0.1:8000)"),
        (421, "INFO the target wants another host name at /mcp (HTTP 421 for 127.0.0.1:8000)"),
        (500, "WARNING the target fails at /mcp: HTTP 500; see its own log"),
    ],
)
async def test_one_that_does_not_say(status: int, line: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, status, b"no")

    assert await said_of(app, caplog) == [line]


async def test_a_redirect_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 307, b"", extra=[(b"location", b"/mcp/")])

    (line,) = await said_of(app, caplog)
    assert line.startswith("WARNING the target answers 307 to /mcp/ at /mcp")


async def test_the_hosts_that_the_sdk_knows(caplog: pytest.LogCaptureFixture) -> None:
    async with sdk_app() as app:
        (line,) = await said_of(app, caplog, host="mcp.example:8000")
        assert line == "INFO the target wants another host name at /mcp (HTTP 421 for mcp.example:8000)"


async def test_an_app_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("no\ndatabase")

    assert await said_of(app, caplog) == ["WARNING the target fails at /mcp: RuntimeError: nodatabase; see its own log"]


async def test_an_app_that_says_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_SECONDS", 0.05)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await asyncio.Event().wait()

    monkeypatch.setattr(exchange, "_LEAVE_SECONDS", 0.05)
    (line,) = await said_of(app, caplog)
    assert line == "WARNING the target fails at /mcp: it did not answer within 0.05 s; see its own log"


async def test_the_state_of_its_lifespan_is_there(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"]["pool"])
        await respond(send, 401, b"")

    await said_of(app, caplog, state={"pool": "of the app"})
    assert set(seen) == {"of the app"}
