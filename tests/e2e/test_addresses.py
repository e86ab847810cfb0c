"""Nodes whose addresses are of IPv6, or come from the machine; and one whose address leads to somebody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest

from tests.bare import ROOT
from tests.e2e.load import VERSION, open_session
from tests.e2e.nodes import ServedNode, serving_nodes
from tests.node.rpc import RawClient
from tests.ports import free_port
from tests.real_redis import real_redis
from tests.waiting import until

pytestmark = pytest.mark.real

TARGET = "tests/servers/entries.py:server"


@pytest.fixture
async def raw() -> AsyncIterator[RawClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield RawClient(http)


async def every_node_serves_every_session(raw: RawClient, nodes: list[ServedNode]) -> None:
    for node in nodes:
        session = await open_session(raw, node.url)
        for other in nodes:
            assert (await raw.call(other.url, session, headers=VERSION)).status == 200


@pytest.mark.parametrize(
    "own",
    [
        {"HOST": "::1"},
        {"HOST": "::1", "MOORING_PEER_PORTS": "any", "MOORING_PEER_HOST": "::1"},
        {"MOORING_ADVERTISE_URL": "http://{lo}:$PORT", "HOST": "x86_64-conda-linux-gnu"},
        {"MOORING_ADVERTISE_URL": "http://$POD_IP:${PORT}", "HOST": "127.0.0.1", "POD_IP": "127.0.0.1"},
    ],
)
async def test_addresses_that_lead_to_their_nodes(raw: RawClient, own: Mapping[str, str]) -> None:
    ports = {name: free_port() for name in ("a", "b")}
    told = {name: {**own, "PORT": str(port)} for name, port in ports.items()}
    async with real_redis() as redis:
        variables = {"MOORING_REDIS_URL": redis.url, "ENTRIES": "/dev/null"}
        sources = dict.fromkeys(ports, ROOT / "src")
        with serving_nodes(TARGET, variables, sources, told, ports if own["HOST"] != "::1" else None) as nodes:
            await every_node_serves_every_session(raw, nodes)
            assert not any("this node's address" in node.log for node in nodes)


async def test_an_address_that_leads_to_another_node_is_told(raw: RawClient) -> None:
    async with real_redis() as redis:
        variables = {"MOORING_REDIS_URL": redis.url, "ENTRIES": "/dev/null"}
        with serving_nodes(TARGET, variables, {"a": ROOT / "src"}) as (elder,):
            told = {**variables, "MOORING_ADVERTISE_URL": f"http://127.0.0.1:{free_port()}"}
            with serving_nodes(TARGET, told, {"b": ROOT / "src"}) as (lost,):

                async def is_told() -> bool:
                    return "this node's address, nobody answers from here" in lost.log

                await until(is_told, what="word of an address that nobody answers at")
                assert "set advertise_url" in lost.log
            assert "this node's address" not in elder.log
