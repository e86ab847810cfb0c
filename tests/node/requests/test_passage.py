"""Answers of peers on their way through a node that ends before they do: their clients come back, and hear the rest."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from mooring.node.moving.moves import Moves, Order
from mooring.store import MemoryStore
from tests.node.requests.test_standing import speaking, texts
from tests.node.rpc import RawClient
from tests.node.state_nodes import GATES, request, state_nodes
from tests.node.tellers import reading


@pytest.mark.parametrize("is_told_to_stop", [True, False], ids=["it stops", "mooring drain"])
async def test_who_listens_to_a_peer_through_a_node_that_drains_hears_the_end_and_listens_on_elsewhere(
    raw: RawClient, is_told_to_stop: bool
) -> None:
    async with aiohttp.ClientSession() as http, speaking(MemoryStore(), ingress_seconds=0.05) as (nodes, speakers):
        session = await raw.open(nodes[0].url)
        async with reading(http, "GET", nodes[1].url, session) as reader:
            speakers[0].say("a")
            assert await texts(reader, 1) == ["a"]
            node = nodes[1].mooring._node
            await node.store.order(node.id, Order.DRAIN, 60)
            draining = asyncio.create_task(nodes[1].mooring.drain() if is_told_to_stop else Moves(node).run())
            assert await reader.rest() == []  # an answer that is broken off raises
            draining.cancel()
        async with reading(http, "GET", nodes[0].url, session, last=reader.ids[-1]) as again:
            await again.rest()  # to its owner it had left at once: that is ended well, once
        async with reading(http, "GET", nodes[0].url, session, last=reader.ids[-1]) as third:
            speakers[0].say("b")
            assert await texts(third, 1) == ["b"]


async def test_a_call_that_passes_through_it_goes_on_and_ends_properly_once_its_server_waits_no_longer(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with aiohttp.ClientSession() as http, state_nodes(raw, 2) as nodes:
        session, (owner, other) = await nodes.open(), nodes.running
        async with reading(http, "POST", other.url, session, request("hold", entry="passed on")) as reader:
            await reader.next()
            await other.mooring.drain()
            other.server.stop()  # it waits for a second
            assert await reader.rest() == []
        await asyncio.wait({other.serving})
        GATES["passed on"].set()
        async with reading(http, "GET", owner.url, session, last=reader.ids[-1]) as again:
            said = [json.loads(event.data) for event in await again.rest() if event.data]
            assert [message["result"]["content"][0]["text"] for message in said] == ["1"]
    assert "Exception in ASGI application" not in caplog.text
