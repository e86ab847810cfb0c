"""Targets made with each SDK, each in the environment that it is installed in: their MCP endpoint is at our path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bare import ROOT, python_for

SOURCE_V2 = """
from fastmcp import FastMCP
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

official, low_level, fastmcp = MCPServer("one"), Server("two"), FastMCP("three")
"""
SOURCE_V1 = """
from mcp.server.fastmcp import FastMCP
from mcp.server.lowlevel import Server

official, low_level = FastMCP("one"), Server("two")
"""
# Loads a target, starts it, sends `initialize` to its path, to another path, and with another host's name, and prints
# the three statuses.
DRIVER = """
import asyncio, json, sys
from types import SimpleNamespace
from mooring.errors import TargetError
from mooring.hosting.target import load_target

INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}

async def main(target, path):
    app = load_target(target, SimpleNamespace(main_endpoint=path))
    to_app, started = asyncio.Queue(), asyncio.Event()
    async def lifespan_send(message):
        started.set()
    lifespan = asyncio.create_task(app({"type": "lifespan", "asgi": {}, "state": {}}, to_app.get, lifespan_send))
    await to_app.put({"type": "lifespan.startup"})
    await started.wait()
    statuses = []
    body = json.dumps(INITIALIZE).encode()
    for asked, host in ((path, "127.0.0.1:80"), ("/mcp", "127.0.0.1:80"), (path, "mcp.example.org")):
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])
        async def receive():
            for message in messages:
                return message
            await asyncio.Event().wait()
        async def send(message):
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
        scope = {"type": "http", "method": "POST", "path": asked, "raw_path": asked.encode(), "query_string": b"",
                 "root_path": "", "scheme": "http", "http_version": "1.1", "asgi": {}, "client": ("127.0.0.1", 9),
                 "server": ("127.0.0.1", 80), "state": {},
                 "headers": [(name.encode(), value.encode()) for name, value in {"host": host, **HEADERS}.items()]}
        await app(scope, receive, send)
    await to_app.put({"type": "lifespan.shutdown"})
    await lifespan
    print(json.dumps(statuses))

try:
    asyncio.run(main(*sys.argv[1:]))
except TargetError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str, str], object]:
    """Loads an attribute of a server file in the environment of that generation."""

    async def run(*command: str) -> bytes:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        output, _ = await process.communicate()
        return output

    def load(generation: str, attribute: str) -> object:
        target = tmp_path / "a_server.py"
        target.write_text(SOURCE_V1 if generation == "v1" else SOURCE_V2)
        command = (python_for(generation), "-W", "ignore", "-c", DRIVER, f"{target}:{attribute}", "/other/mcp")
        return json.loads(asyncio.run(run(*command)).splitlines()[-1])

    return load


@pytest.mark.real
@pytest.mark.parametrize(
    ("generation", "attribute", "another_host"),
    [("v2", "official", 421), ("v2", "low_level", 421), ("v2", "fastmcp", 200), ("v1", "official", 421)],
)
def test_the_endpoint_is_at_our_path_and_as_protected_as_its_author_made_it(
    load: Callable[[str, str], object], generation: str, attribute: str, another_host: int
) -> None:
    assert load(generation, attribute) == [200, 404, another_host]


@pytest.mark.real
def test_the_low_level_server_of_v1_has_no_http_side(load: Callable[[str, str], object]) -> None:
    said = load("v1", "low_level")
    assert isinstance(said, str)
    assert "is of type mcp.server.lowlevel.server.Server, which does not serve HTTP by itself" in said
