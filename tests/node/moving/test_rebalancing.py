"""A node that is fuller than others gives them idle sessions, and no more than it has too many."""

from __future__ import annotations

import asyncio

from mooring.node.moving.rebalancing import rebalance
from tests.node.moving.nodes import Nodes, SlowCall, once, some_nodes
from tests.node.rpc import RawClient


async def opened(nodes: Nodes, count: int) -> list[str]:
    sessions = [await nodes.open() for _ in range(count)]
    await nodes.node(0).keeper.beat()
    return sessions


async def test_half_of_them_go_and_then_it_is_even(raw: RawClient) -> None:
    async with some_nodes(raw) as nodes:
        sessions = await opened(nodes, 24)
        assert await rebalance(nodes.node(0)) == 12
        for session in sessions:
            assert (await nodes.ping(session)).status == 200
        homes = [nodes.lives_at(session) for session in sessions]
        assert (homes.count([0]), homes.count([1])) == (12, 12)
        for index in (0, 1):
            await nodes.node(index).keeper.beat()
        for index in (0, 1):
            assert await rebalance(nodes.node(index)) == 0


async def test_what_runs_stays(raw: RawClient) -> None:
    async with some_nodes(raw) as nodes:
        sessions = await opened(nodes, 24)
        slow = SlowCall(nodes.apps[0])
        call = asyncio.create_task(nodes.ping(sessions[0]))
        await slow.has_begun.wait()
        await rebalance(nodes.node(0))
        assert nodes.lives_at(sessions[0]) == [0]
        slow.may_end.set()
        assert (await call).status == 200


async def test_a_node_that_drains_is_not_made_even(raw: RawClient) -> None:
    async with some_nodes(raw, ingress_seconds=0) as nodes:
        await opened(nodes, 24)
        await nodes.running[1].mooring.drain()
        await nodes.node(0).keeper.look()
        assert await rebalance(nodes.node(0)) == 0
        assert await rebalance(nodes.node(1)) == 0


async def test_so_does_a_shard_for_a_handle_that_is_minted_meanwhile(raw: RawClient) -> None:
    async with some_nodes(raw) as nodes:
        node, handles = nodes.node(0), list[str]()
        await opened(nodes, 24)

        async def mint() -> None:
            shards = node.membership.shards.keys() - node.membership.moving
            handles.extend(node.mint_handle("page", "", shard, survives=False) for shard in shards)

        nodes.store.before["give"] = mint
        assert await rebalance(node) > 0
        assert all(node.sessions.handles.find(handle) for handle in handles)


async def test_and_for_one_that_a_call_mints_which_is_waited_for(raw: RawClient) -> None:
    async with some_nodes(raw) as nodes:
        node = nodes.node(0)
        await opened(nodes, 24)
        with node.arrivals.one_in(*node.membership.shards):
            moving = asyncio.create_task(rebalance(node))
            await once(lambda: bool(node.membership.moving), what="a shard to be held")
            handle = node.mint_handle("page", "", next(iter(node.membership.moving)), survives=False)
        await moving
        assert node.sessions.handles.find(handle)
