"""Every client against every server, through three nodes: with cookies, without, and spread without any sense.

A client's sessions count, report progress, ask back, subscribe and end as against one bare server; what each client
checks is in `tests/clients`.
"""

from __future__ import annotations

import pytest

from tests.clients.programs import CLIENTS, MODERN_CLIENTS, ClientReport, run_client
from tests.deployments.haproxy import running_haproxy
from tests.e2e.clusters import Cluster

pytestmark = pytest.mark.real

SESSIONS = ("--sessions", "3", "--calls", "4")


def assert_clean(report: ClientReport) -> None:
    assert report.failures == []
    assert report.ok
    assert report.sessions == 3


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("cookies", ["--cookies", "--no-cookies"])
async def test_through_traefik(any_cluster: Cluster, client: str, cookies: str) -> None:
    assert_clean(await run_client(client, any_cluster.url, cookies, *SESSIONS))


@pytest.mark.parametrize("client", CLIENTS)
async def test_each_request_to_a_node_picked_at_random(any_cluster: Cluster, client: str) -> None:
    urls = [node["url"] for node in any_cluster.nodes()]
    async with running_haproxy(urls, "balance random(1)") as url:
        assert_clean(await run_client(client, f"{url}/mcp", "--no-cookies", *SESSIONS))


@pytest.mark.parametrize("client", MODERN_CLIENTS)
@pytest.mark.parametrize("any_cluster", ["v2", "fastmcp"], indirect=True)
async def test_modern_requests_are_served_where_they_land(any_cluster: Cluster, client: str) -> None:
    assert_clean(await run_client(client, any_cluster.url, "--modern", *SESSIONS))
