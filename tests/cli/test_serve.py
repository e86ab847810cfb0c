from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mooring.core.ids import brief
from tests.bare import python_for, serve
from tests.cli.command import mooring
from tests.cli.served_node import COUNTER, served_node
from tests.real_redis import real_redis
from tests.waiting import until

SECRET = "a secret for tests and nothing else"
INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}
TELLING = """
import logging

from {module} import Context, {name}

server = {name}("telling")


@server.tool()
def tell(ctx: Context) -> str:
    session_id = ctx.request_context.request.headers["mcp-session-id"]
    try:
        raise ValueError("no " + session_id)
    except ValueError:
        logging.getLogger("{logger}").exception("told of %s", session_id)
    return "told"
"""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def test_a_port_in_use(taken_port: int) -> None:
    said = mooring("serve", COUNTER, "--port", str(taken_port))
    assert said.code == 1
    assert said.error_line == (
        f"mooring: port {taken_port} on 127.0.0.1 is in use: choose another one with --port, or 0 for any that is free"
    )


def test_a_platform_names_the_port_and_the_address_in_the_environment(
    taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", str(taken_port))
    assert f"port {taken_port} on 127.0.0.1 is in use" in mooring("serve", COUNTER).error_line
    monkeypatch.setenv("HOST", "192.0.2.1")
    assert "192.0.2.1 is no address of this machine" in mooring("serve", COUNTER).error_line
    assert f"port {taken_port} on 127.0.0.1" in mooring("serve", COUNTER, "--host", "127.0.0.1").error_line


@pytest.mark.parametrize("host", ["x86_64-conda-linux-gnu", "my-laptop", "localhost", ""])
def test_a_host_that_is_no_address_is_not_meant_for_us(
    taken_port: int, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """conda puts the kind of machine there, and some shells its name."""
    monkeypatch.setenv("HOST", host)
    said = mooring("serve", COUNTER, "--port", str(taken_port))
    is_told = f"the variable HOST ({host}) is no address: listening on 127.0.0.1; see --host" in said.err
    assert is_told is ("-" in host)
    assert f"port {taken_port} on {'localhost' if host == 'localhost' else '127.0.0.1'} is in use" in said.err


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (("no_such_module:app",), 4, "there is no module 'no_such_module' in "),
        (("no/such/file.py:app",), 4, "there is no file no/such/file.py"),
        ((COUNTER + "s",), 4, "has no attribute 'servers'; did you mean server?"),
        ((COUNTER, "--lease-seconds", "0.9"), 2, "setting lease_seconds: '0.9' is wrong: at least twice heartbeat"),
        (
            (COUNTER, "--redis-url", "redis://h"),
            2,
            "setting secret: None is wrong: needed with redis_url: set MOORING_SECRET",
        ),
        ((COUNTER, "--host", "192.0.2.1"), 1, "192.0.2.1 is no address of this machine: choose one with --host"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(flags: tuple[str, ...], code: int, line: str) -> None:
    said = mooring("serve", *flags, *(() if "--host" in flags else ("--port", "0")))
    assert said.code == code
    assert line in said.error_line


def test_a_variable_that_is_most_likely_mistyped_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_REDIS_ULR", "redis://127.0.0.1:1")
    assert "MOORING_REDIS_ULR sets nothing" in mooring("serve", "no.such:server", "--port", "0").err


def test_a_redis_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOORING_SECRET", SECRET)
    said = mooring("serve", COUNTER, "--port", "0", "--redis-url", "redis://:pw@127.0.0.1:1/0")
    assert said.code == 3
    told, last = said.err.splitlines()
    assert "not started yet, and trying again: Redis at redis://:***@127.0.0.1:1/0 does not answer while " in told
    assert last.startswith("mooring: Redis at redis://:***@127.0.0.1:1/0 does not answer while ")


def test_an_app_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        """
from contextlib import asynccontextmanager
from starlette.applications import Starlette

@asynccontextmanager
async def lifespan(app):
    raise OSError('no database')
    yield

app = Starlette(lifespan=lifespan)
"""
    )
    said = mooring("serve", "failing.py:app", "--port", "0")
    assert said.code == 4
    assert said.error_line == "mooring: the app did not start: OSError: no database (failing.py:7)"


@pytest.mark.parametrize("shape", ["itself", "within", "mounted", "added"])
def test_an_app_that_has_mooring_already(shape: str, tmp_path: Path) -> None:
    (tmp_path / f"wrapped_{shape}.py").write_text(
        """
from mooring import Mooring
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

itself = Mooring(Starlette())
within = GZipMiddleware(itself)
mounted = Starlette(routes=[Mount("/api", itself)])
added = Starlette()
added.add_middleware(Mooring)
"""
    )
    said = mooring("serve", f"wrapped_{shape}.py:{shape}", "--port", "0")
    assert said.code == 4
    assert said.error_line.endswith("has Mooring in it already: run it with a server, or name the app inside it")


@pytest.mark.parametrize(("flags", "tuned"), [((), True), (("--gc", "server"), True), (("--gc", "python"), False)])
def test_the_garbage_collector_is_set_for_a_server_unless_it_is_told_not_to(
    flags: tuple[str, ...], tuned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = []
    monkeypatch.setattr("mooring.cli.serve.run_server", lambda *_, tunes_gc, **__: served.append(tunes_gc))
    monkeypatch.setenv("MOORING_NODE_NAME", "as-before")  # the command sets it for the app
    said = mooring("serve", COUNTER, "--port", "0", *flags)
    assert (said.code, served) == (0, [tuned])


@pytest.mark.real
async def test_the_embedded_example() -> None:
    """Its own page, its tool, and what it forgets when the session is closed."""
    async with serve("examples.embedded:app", python=sys.executable) as url, aiohttp.ClientSession() as http:
        async with http.post(url, json=INITIALIZE, headers=ACCEPT) as answer:
            session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], **ACCEPT}
        call = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "note", "arguments": {"text": "x"}},
        }
        async with http.post(url, json=call, headers=session) as answer:
            assert '"1"' in await answer.text()
        assert await _page(http, url) == "1 sessions have notes here\n"
        async with http.delete(url, headers=session) as answer:
            assert answer.status == 200
        await until(lambda: _says(http, url, "0 sessions have notes here\n"), what="the notes to be forgotten")


async def _says(http: aiohttp.ClientSession, url: str, text: str) -> bool:
    return await _page(http, url) == text


async def _page(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url.removesuffix("/mcp")) as answer:
        return await answer.text()


@pytest.mark.real
@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_single_node_says_what_it_is_serves_and_stops_with_0(signal_number: int) -> None:
    async with served_node("--node-name", "alone") as node:
        assert node.said == [
            "single node: sessions are kept in this process only, no other node can share them (no redis_url)",
            f"node alone serves {node.url}",
        ]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", node.url)
        async with aiohttp.ClientSession(headers=ACCEPT) as http:
            async with http.post(node.url, json=INITIALIZE) as answer:
                assert answer.status == 200
            async with http.get(node.url.replace("/mcp", "/readyz")) as answer:
                assert answer.status == 200
        code, logged = await node.stop(signal_number)
    assert code == 0
    assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ mooring\.\w+: ", line) for line in logged.splitlines()), (
        logged
    )


@pytest.mark.real
async def test_the_app_learns_which_node_it_runs_on() -> None:
    async with served_node("--node-name", "berth", MOORING_MCP_PATH="/there") as node, aiohttp.ClientSession() as http:
        assert node.url.endswith("/there")
        async with http.post(node.url, json=INITIALIZE, headers=ACCEPT) as answer:
            session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"], **ACCEPT}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "where", "arguments": {}}}
        async with http.post(node.url, json=call, headers=session) as answer:
            assert f"berth, process {node.process.pid}" in await answer.text()


@pytest.mark.real
async def test_a_node_with_redis_is_in_the_registry_with_its_session() -> None:
    async with real_redis() as redis:
        surroundings = {"MOORING_SECRET": SECRET, "MOORING_REDIS_URL": redis.url}
        async with served_node("--node-name", "berth", **surroundings) as node, aiohttp.ClientSession() as http:
            assert node.said == [f"node berth serves {node.url}"]
            async with http.post(node.url, json=INITIALIZE, headers=ACCEPT) as answer:
                session_id = answer.headers["Mcp-Session-Id"]
            status = (await asyncio.to_thread(mooring, "status", "--json", "--redis-url", redis.url)).json
            (found,) = status["nodes"]
            assert (found["name"], found["pid"], found["state"]) == ("berth", node.process.pid, "ready")
            assert found["url"] == node.url.removesuffix("/mcp")
            assert len(found["shards"]) == 8
            session = (await asyncio.to_thread(mooring, "session", session_id, "--json", "--redis-url", redis.url)).json
            assert (session["node"]["name"], session["node"]["alive"]) == ("berth", True)
            assert session["client"] == "test 1"
            await node.stop(signal.SIGTERM)
            status = (await asyncio.to_thread(mooring, "status", "--json", "--redis-url", redis.url)).json
            assert [one["state"] for one in status["nodes"]] == ["gone"]


@pytest.mark.real
async def test_a_server_of_the_older_sdk_in_its_own_environment(tmp_path: Path) -> None:
    (tmp_path / "older.py").write_text("from mcp.server.fastmcp import FastMCP\n\nserver = FastMCP('older')\n")
    async with served_node(target="older.py:server", python=python_for("v1")) as node, aiohttp.ClientSession() as http:
        async with http.post(node.url, json=INITIALIZE, headers=ACCEPT) as answer:
            assert answer.status == 200
        code, logged = await node.stop(signal.SIGTERM)
    assert code == 0
    assert all(" mooring." in line for line in logged.splitlines()), logged


@pytest.mark.real
@pytest.mark.parametrize(
    ("kind", "server", "logger"),
    [
        ("v1", ("mcp.server.fastmcp", "FastMCP"), "author"),
        ("v2", ("mcp.server.mcpserver", "MCPServer"), "author"),
        ("fastmcp", ("fastmcp", "FastMCP"), "fastmcp.author"),
    ],
    ids=["v1", "v2", "fastmcp"],
)
async def test_no_log_line_names_a_session_whole(
    kind: str, server: tuple[str, str], logger: str, tmp_path: Path
) -> None:
    """The SDK's own lines do, when a session begins and when it ends; and whatever the author's code logs.

    FastMCP's logger has handlers of its own, which Mooring replaces.
    """
    module, name = server
    (tmp_path / "telling.py").write_text(TELLING.format(module=module, name=name, logger=logger))
    target = f"{tmp_path}/telling.py:server"
    async with served_node("--debug", target=target, python=python_for(kind)) as node, aiohttp.ClientSession() as http:
        async with http.post(node.url, json=INITIALIZE, headers=ACCEPT) as answer:
            session_id = answer.headers["Mcp-Session-Id"]
        session = {"Mcp-Session-Id": session_id, **ACCEPT}
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "tell", "arguments": {}}}
        async with http.post(node.url, json=call, headers=session) as answer:
            assert answer.status == 200
            await answer.read()
        async with http.delete(node.url, headers=session) as answer:
            assert answer.status == 200
        _, logged = await node.stop(signal.SIGTERM)
    for words in ("new transport with session ID: ", "Terminating session: ", f"{logger}: told of ", "ValueError: no "):
        assert words + brief(session_id) in logged, words
    assert session_id not in logged
