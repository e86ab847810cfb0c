"""Where requests go: by header through Traefik, by one forward anywhere else, and round-robin for other traffic."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from tests.deployments.haproxy import running_haproxy
from tests.e2e.clusters import Cluster
from tests.e2e.load import count, open_session, run_sessions
from tests.node.rpc import RawClient
from tests.waiting import until

pytestmark = pytest.mark.real


async def settled(cluster: Cluster) -> list[dict[str, Any]]:
    """The nodes once their counters stand still: they travel with the heartbeat."""
    last: list[Any] = []

    async def still() -> list[dict[str, Any]]:
        nonlocal last
        nodes = await asyncio.to_thread(cluster.nodes)
        figures = [(node["served"], node["sessions"], node["forwarded_in"], node["forwarded_out"]) for node in nodes]
        before, last = last, figures
        fresh = all(node["lease_age_seconds"] < 0.9 for node in nodes)
        return nodes if fresh and before == figures else []

    return await until(still, what="the counters to stand still")


def grown(before: list[dict[str, Any]], after: list[dict[str, Any]], figure: str) -> list[int]:
    return [new[figure] - old[figure] for old, new in zip(before, after, strict=True)]


async def test_without_cookies_header_routers_do_the_work(cluster: Cluster) -> None:
    before = await settled(cluster)
    result = await run_sessions(cluster.base, sessions=200, calls=20)
    assert result.failures == []
    assert result.calls == 4000
    after = await settled(cluster)
    assert sum(grown(before, after, "forwarded_out")) <= 0.01 * result.calls
    sessions = grown(before, after, "sessions")
    assert sum(sessions) == 200
    assert all(abs(held - 200 / 3) <= 0.2 * 200 / 3 for held in sessions), sessions


@pytest.mark.parametrize("balance", ["roundrobin", "random(1)"])
async def test_without_any_affinity_every_call_is_forwarded_at_most_once(cluster: Cluster, balance: str) -> None:
    before = await settled(cluster)
    async with running_haproxy([node["url"] for node in before], f"balance {balance}") as base:
        result = await run_sessions(base, sessions=60, calls=10)
    assert result.failures == []
    after = await settled(cluster)
    forwarded = sum(grown(before, after, "forwarded_out"))
    requests = result.calls + 2 * len(result.sessions)
    assert 0 < forwarded <= requests
    assert sum(grown(before, after, "forwarded_in")) == forwarded
    assert sum(grown(before, after, "served")) == requests
    assert [node["refused"] for node in after] == [node["refused"] for node in before]


async def test_a_session_is_served_at_every_node(cluster: Cluster, raw: RawClient) -> None:
    session = await open_session(raw, cluster.base)
    nodes = cluster.nodes()
    for expected, node in enumerate(nodes * 3, 1):
        assert await count(raw, node["url"], session) == expected


async def test_other_traffic_goes_round_and_carries_no_cookie(cluster: Cluster) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.get(cluster.url) as reply:
            assert "_mcp_backend" in reply.headers.get("set-cookie", "")
        for path in ("/", "/other", "/mcpfoo", "/healthz"):
            async with http.get(cluster.base + path) as reply:
                assert "set-cookie" not in reply.headers, path
        # Another path's requests go on being spread for a client that holds the cookie.
        seen: Counter[str] = Counter()
        for _ in range(30):
            async with http.get(f"{cluster.base}/where") as reply:
                seen[await reply.text()] += 1
    assert len(seen) == 3
    assert max(seen.values()) - min(seen.values()) <= 2, seen


async def test_the_cookie_is_for_the_mcp_path_alone(cluster: Cluster) -> None:
    async with aiohttp.ClientSession() as http, http.get(cluster.url) as reply:
        cookie = reply.headers["set-cookie"]
    assert cookie.startswith("_mcp_backend=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"path=/mcp", "httponly", "secure", "samesite=strict"}
