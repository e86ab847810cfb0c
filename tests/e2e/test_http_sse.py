"""HTTP+SSE sessions of a server of the SDK's first generation, on a cluster of real processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.clusters import Cluster, running_cluster
from tests.node.http_sse_streams import StreamClient, streaming
from tests.waiting import until

pytestmark = pytest.mark.real

COUNT = {"name": "count", "arguments": {}}


@pytest.fixture(scope="module")
def streams() -> Iterator[Cluster]:
    with running_cluster("v1", target="tests/servers/streams_v1.py:app") as cluster:
        yield cluster


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        yield http


async def _count(client: StreamClient, url: str) -> tuple[int, int]:
    result = await client.call(url, "tools/call", COUNT)
    count, process = result["content"][0]["text"].split()
    return int(count), int(process)


async def test_ten_sessions_work_whichever_node_each_request_reaches(
    streams: Cluster, http: aiohttp.ClientSession
) -> None:
    urls = [node["url"] for node in await streams.until_nodes(3)]
    processes = set()
    for _ in range(10):
        async with streaming(http, random.choice(urls)) as client:
            await client.initialize(random.choice(urls))
            seen = [await _count(client, url) for url in [*urls, streams.base]]
            assert [count for count, _ in seen] == [1, 2, 3, 4]
            processes |= {process for _, process in seen}
            assert len({process for _, process in seen}) == 1
    assert len(processes) > 1


async def test_the_session_of_a_killed_node_is_gone_and_a_new_one_works(
    streams: Cluster, http: aiohttp.ClientSession
) -> None:
    nodes = await streams.until_nodes(3)
    async with streaming(http, nodes[0]["url"]) as client:
        await client.initialize(nodes[1]["url"])
        _, process = await _count(client, nodes[2]["url"])
        os.kill(process, signal.SIGKILL)

        async def is_gone() -> bool:
            status, body = await client.post(nodes[1]["url"], {"jsonrpc": "2.0", "id": 9, "method": "ping"})
            return status == 404 and '"owner_lost"' in body

        await until(is_gone, what="the dead node's session to be gone")
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(client.next_event(), 10)
    async with streaming(http, nodes[1]["url"]) as client:
        await client.initialize(nodes[2]["url"])
        assert (await _count(client, nodes[2]["url"]))[0] == 1
    await streams.until_nodes(3)
