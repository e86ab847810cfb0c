"""Wherever an app has its MCP endpoints, its sessions are served by every node; with settings as they come."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

import aiohttp
import pytest

from tests.bare import ROOT, python_for
from tests.e2e.load import INITIALIZED, VERSION
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import INITIALIZE, RawClient, Reply
from tests.real_redis import real_redis
from tests.shapes.book import CELLS, SHAPES
from tests.waiting import until

pytestmark = pytest.mark.real

SESSIONS: Final = 10
CALLS: Final = 5


@contextlib.asynccontextmanager
async def three_nodes(kind: str, shape: str, **settings: str) -> AsyncIterator[list[ServedNode]]:
    async with real_redis() as redis:
        variables = {"SDK": kind, "SHAPE": shape, "MOORING_REDIS_URL": redis.url, **settings}
        sources = dict.fromkeys(("a", "b", "c"), ROOT / "src")
        target = "tests/servers/shapes.py:app"
        with serving_nodes(target, variables, sources, python=python_for(kind)) as nodes:
            yield nodes


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield RawClient(http)


def anywhere(nodes: Sequence[ServedNode]) -> str:
    return random.choice(nodes).url


async def open_at(raw: RawClient, nodes: Sequence[ServedNode], path: str) -> str:
    reply = await raw.send("POST", f"{anywhere(nodes)}{path}", body=INITIALIZE)
    assert reply.status == 200, reply
    opened = await raw.send(
        "POST", f"{anywhere(nodes)}{path}", session=reply.session_id, body=INITIALIZED, headers=VERSION
    )
    assert opened.status == 202, opened
    return reply.session_id


async def count(raw: RawClient, base: str, path: str, session: str) -> Reply:
    body = {"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "count", "arguments": {}}}
    return await raw.send("POST", f"{base}{path}", session=session, body=body, headers=VERSION)


def text(reply: Reply) -> str:
    assert reply.status == 200, reply
    return str(reply.json["result"]["content"][0]["text"])


@pytest.mark.parametrize(("kind", "shape"), CELLS)
async def test_sessions_of_every_endpoint_are_served_by_every_node(raw: RawClient, kind: str, shape: str) -> None:
    async with three_nodes(kind, shape) as nodes:
        endpoints = SHAPES[shape].endpoints
        opened = [
            (*endpoints[n % len(endpoints)], await open_at(raw, nodes, endpoints[n % len(endpoints)][0]))
            for n in range(SESSIONS)
        ]
        assert all("." in session for *_, session in opened)
        for number in range(1, CALLS + 1):
            for path, name, session in opened:
                assert text(await count(raw, anywhere(nodes), path, session)) == f"{name} {number}"
        for path, _, session in opened:
            left = await raw.send("DELETE", f"{anywhere(nodes)}{path}", session=session, headers=VERSION)
            assert left.status == 200
            assert (await count(raw, anywhere(nodes), path, session)).status == 404


async def test_a_session_is_served_at_its_own_endpoint_alone(raw: RawClient) -> None:
    async with three_nodes("v2", "two") as nodes:
        sessions = {path: await open_at(raw, nodes, path) for path, _ in SHAPES["two"].endpoints}
        (first, name), (second, _) = SHAPES["two"].endpoints
        for node in nodes:
            for _ in range(2):
                assert (await count(raw, node.url, second, sessions[first])).status == 404
        assert text(await count(raw, anywhere(nodes), first, sessions[first])) == f"{name} 1"


async def test_what_is_no_endpoint_stays_the_apps(raw: RawClient) -> None:
    async with three_nodes("v2", "two") as nodes:
        session = await open_at(raw, nodes, "/alpha/mcp")
        for node in nodes:
            assert (await raw.send("GET", f"{node.url}/about")).body == b"about"
            assert (await raw.send("GET", f"{node.url}/about", session=session)).body == b"about"
            echoed = await raw.send("POST", f"{node.url}/echo", body=b'{"any": "JSON"}')
            assert (echoed.status, echoed.body) == (200, b'{"any": "JSON"}')
            assert (await raw.send("GET", f"{node.url}/nowhere", session="forged")).status == 404


async def test_endpoints_can_be_pinned(raw: RawClient) -> None:
    settings = {"MOORING_MCP_PATH": "/alpha/mcp", "MOORING_FIND_ENDPOINTS": "false"}
    async with three_nodes("v2", "two", **settings) as nodes:
        ours = await open_at(raw, nodes[:1], "/alpha/mcp")
        assert text(await count(raw, nodes[1].url, "/alpha/mcp", ours)) == "alpha 1"
        theirs = await open_at(raw, nodes[:1], "/beta/mcp")
        assert "." not in theirs
        assert text(await count(raw, nodes[0].url, "/beta/mcp", theirs)) == "beta 1"
        assert (await count(raw, nodes[1].url, "/beta/mcp", theirs)).status == 404


async def test_a_node_says_where_its_target_serves(raw: RawClient) -> None:
    async with three_nodes("v2", "prefix") as nodes:

        async def is_told() -> bool:
            return all("it serves MCP at /api/v1/mcp: set mcp_path to /api/v1/mcp" in node.log for node in nodes)

        await until(is_told, what="word of where it serves")
    async with three_nodes("v2", "prefix", MOORING_MCP_PATH="/api/v1/mcp") as nodes:

        async def serves() -> bool:
            return all("the target serves MCP at /api/v1/mcp: prefix" in node.log for node in nodes)

        await until(serves, what="word of what it serves")


async def test_nodes_say_which_endpoints_they_have_found(raw: RawClient) -> None:
    async with three_nodes("v2", "two") as nodes:
        await open_at(raw, nodes, "/beta/mcp")
        await asyncio.sleep(0)
        assert any("found an MCP endpoint at /beta/mcp" in node.log for node in nodes)
