"""A browser server that nobody here wrote, unchanged, on three nodes: each session meets its own page.

`@playwright/mcp` speaks revisions with sessions alone, so that is what this tries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.client import Client

from tests.chaos.balancer import balancing
from tests.clients.browser import browser
from tests.clients.programs import need_node
from tests.e2e.clusters import Cluster, running_cluster
from tests.e2e.test_affinity import settled

pytestmark = pytest.mark.real  # a browser for each session, on whatever machine

SESSIONS, CLICKS = 2, 2
PAGE = "data:text/html,<title>{0}</title><button onclick='document.title+=`x`'>more</button>"


@pytest.fixture(scope="module")
def browsing() -> Iterator[Cluster]:
    need_node()
    browser()
    with running_cluster("fastmcp", target="tests/servers/playwright_proxied.py:server") as cluster:
        yield cluster


def text_of(result: Any) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def live_on_several(cluster: Cluster) -> bool:
    return len([node for node in await settled(cluster) if node["served"] > 0]) > 1


async def test_each_session_meets_its_own_page_on_whichever_node_its_requests_arrive(browsing: Cluster) -> None:
    urls = [node["url"] for node in browsing.nodes()]

    async def visit(connection: Any, name: str) -> list[str]:
        """What the page is called after each click, which adds to it."""
        async with Client(connection(), mode="legacy") as client:
            assert not (await client.call_tool("browser_navigate", {"url": PAGE.format(name)})).is_error
            assert "[ref=e2]" in text_of(await client.call_tool("browser_snapshot", {}))
            clicks = [text_of(await client.call_tool("browser_click", {"target": "e2"})) for _ in range(CLICKS)]
            return [line.partition(": ")[2] for click in clicks for line in click.splitlines() if "Page Title" in line]

    names = [f"page-{n}-" for n in range(SESSIONS)]
    async with balancing(urls) as connection:
        titles = await asyncio.gather(*(visit(connection, name) for name in names))
        more = (f"page-{n}-" for n in range(SESSIONS, 8))
        while not await live_on_several(browsing):  # chance may put two on one node
            await visit(connection, next(more))
    assert titles == [[name + "x" * clicks for clicks in range(1, CLICKS + 1)] for name in names]
    nodes = await settled(browsing)
    assert sum(node["forwarded_out"] for node in nodes) > 0
