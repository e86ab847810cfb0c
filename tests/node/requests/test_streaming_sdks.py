"""HTTP+SSE sessions of the SDK's and FastMCP's servers, over three nodes, with a random node for each request."""

from __future__ import annotations

import random
from collections.abc import Callable

import fastmcp
import httpx2
import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.server.mcpserver import MCPServer

from mooring.asgi import App
from tests.cluster_in_process import RunningNode, running_nodes
from tests.waiting import until


def _sdk_app() -> App:
    server = MCPServer("counter")
    server.tool()(_counter())
    return server.sse_app()


def _fastmcp_app() -> App:
    server = fastmcp.FastMCP("counter")
    server.tool()(_counter())
    return server.http_app(transport="sse")


def _counter() -> Callable[[], int]:
    calls = 0

    def count() -> int:
        """How often this node was called."""
        nonlocal calls
        calls += 1
        return calls

    return count


class _RandomNode(httpx2.AsyncBaseTransport):
    """A load balancer that knows nothing of sessions, inside the client."""

    def __init__(self, nodes: list[RunningNode], used: set[str]) -> None:
        self._nodes = nodes
        self._used = used
        self._wire = httpx2.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = httpx2.URL(random.choice(self._nodes).url)
        self._used.add(str(url))
        request.url = request.url.copy_with(host=url.host, port=url.port)
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        await self._wire.aclose()


@pytest.mark.parametrize("make_app", [_sdk_app, _fastmcp_app])
async def test_ten_sessions_work_whichever_node_each_request_reaches(make_app: Callable[[], App]) -> None:
    async with running_nodes(make_app) as nodes:
        used: set[str] = set()

        def make_client(
            headers: dict[str, str] | None = None,
            timeout: httpx2.Timeout | None = None,
            auth: httpx2.Auth | None = None,
        ) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(
                transport=_RandomNode(nodes, used), headers=headers, timeout=timeout or 20, auth=auth
            )

        for _ in range(10):
            async with (
                sse_client(f"{nodes[0].url}/sse", httpx_client_factory=make_client) as (read, write),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                for _ in range(4):
                    result = await session.call_tool("count", {})
                    assert not result.is_error
        assert len(used) == 3
        assert sum(node.mooring._node.tally.forwarded_in for node in nodes) > 10

        async def all_are_closed() -> bool:
            return not any(len(node.mooring._node.sessions) for node in nodes)

        await until(all_are_closed, what="the sessions to end with their streams")
