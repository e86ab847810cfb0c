"""A node that drains, and what handles of the modern era stand for in it."""

from __future__ import annotations

import asyncio
from typing import Any

import fastmcp
import pytest

from mooring import ClosedSession
from mooring.core.reconnects import Reconnects
from mooring.node.moving.handing_over import HandOver
from mooring.node.moving.rebalancing import rebalance
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.moving.nodes import once
from tests.node.requests.test_modern import Minting, call, opened_on, post, refusal_in, text_of, visit
from tests.node.rpc import RawClient
from tests.servers.browsers import Browsers, app_of, unaware_server

QUICK: dict[str, Any] = {"drain_seconds": 0.5, "ingress_seconds": 0.05}


def slow_visit(handle: str) -> dict[str, Any]:
    body = visit(handle)
    body["params"]["name"] = "visit_slowly"
    return body


def is_given(node: RunningNode) -> bool:
    return not node.mooring._node.membership.shards


async def test_what_is_in_the_memory_of_a_node_that_drains_is_said_to_be_gone(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    minting, closed = Minting(), list[ClosedSession]()
    async with running_nodes(minting, **QUICK) as nodes:
        nodes[0].mooring.on_close(closed.append)
        lost, kept = await opened_on(nodes[0]), await opened_on(nodes[1])
        await nodes[0].mooring.drain()
        for node in nodes:
            assert refusal_in(await post(raw, node, visit(lost))) == "handle_gone"
            assert not (await post(raw, node, visit(kept))).json["result"].get("isError")
    assert [(one.id, one.reason) for one in closed] == [(lost, "moved")]
    assert "1 handles are gone" in caplog.text
    assert minting.browsers[0].ledger == []


async def test_a_call_that_runs_with_a_handle_ends_before_its_shard_goes(raw: RawClient) -> None:
    minting = Minting()
    async with running_nodes(minting, 2, drain_seconds=20.0, ingress_seconds=0.05) as nodes:
        handle = await opened_on(nodes[0])
        asking = asyncio.create_task(post(raw, nodes[1], slow_visit(handle), tool="visit_slowly"))
        await once(lambda: (handle, "begins") in minting.browsers[0].ledger, what="the call to run")
        draining = asyncio.create_task(nodes[0].mooring.drain())
        await once(lambda: len(nodes[0].mooring._node.membership.shards) == 1, what="all other shards to go")
        minting.browsers[0].finish.set()
        assert not (await asking).json["result"].get("isError")
        await draining
        assert is_given(nodes[0])


async def test_a_call_that_outlasts_the_deadline_is_answered_all_the_same(raw: RawClient) -> None:
    minting = Minting()
    async with running_nodes(minting, 2, **QUICK) as nodes:
        handle = await opened_on(nodes[0])
        asking = asyncio.create_task(post(raw, nodes[0], slow_visit(handle), tool="visit_slowly"))
        await once(lambda: (handle, "begins") in minting.browsers[0].ledger, what="the call to run")
        await nodes[0].mooring.drain()
        assert is_given(nodes[0])
        minting.browsers[0].finish.set()
        assert not (await asking).json["result"].get("isError")


async def test_new_handles_are_minted_where_they_can_stay(raw: RawClient) -> None:
    minting = Minting()
    async with running_nodes(minting, 2, **QUICK) as nodes:
        await nodes[0].mooring.drain()
        handle = await opened_on(nodes[0])
        assert handle in minting.browsers[1].pages
        assert not (await post(raw, nodes[0], visit(handle))).json["result"].get("isError")


async def test_a_wrapped_id_of_a_drained_node_is_gone_and_no_other_server_is_asked() -> None:
    held: list[Browsers] = []

    def app() -> Any:
        held.append(Browsers())
        return app_of(unaware_server(fastmcp.FastMCP, held[-1]))

    rule = '[{"mint": "create_session", "field": "session_id", "use": ["session_id"]}]'
    async with running_nodes(app, 2, handles=rule, **QUICK) as nodes:
        made = await call(nodes[0].url, "create_session")
        wrapped = made.structured_content["session_id"]
        assert not (await call(nodes[1].url, "visit", session_id=wrapped, url="p")).is_error
        await nodes[0].mooring.drain()
        after = await call(nodes[1].url, "visit", session_id=wrapped, url="q")
        assert after.is_error
        assert "is gone" in text_of(after)
    assert held[1].ledger == []
    assert [url for _, url in held[0].ledger] == ["p"]


async def test_a_shard_with_a_handle_is_not_moved_to_even_the_load(raw: RawClient) -> None:
    minting = Minting()
    async with running_nodes(minting, 2, capacity=100) as nodes:
        node = nodes[0].mooring._node
        handle = await opened_on(nodes[0])
        for _ in range(30):
            await raw.open(nodes[0].url)
        await rebalance(node)
        assert not (await post(raw, nodes[1], visit(handle))).json["result"].get("isError")
        assert node.has_handles(handle[3:8])


async def test_a_call_that_outlasts_the_deadline_is_cut_off_where_its_handle_goes_on_elsewhere(raw: RawClient) -> None:
    """Else it would run beside the next one."""
    minting = Minting()
    async with running_nodes(minting, 2, **QUICK) as nodes:
        opening = visit("")
        opening["params"] |= {"name": "open_browser", "arguments": {"survives": True}}
        opened = await post(raw, nodes[0], opening, tool="open_browser")
        handle = opened.json["result"]["content"][0]["text"]
        asking = asyncio.create_task(post(raw, nodes[0], slow_visit(handle), tool="visit_slowly"))
        await once(lambda: (handle, "begins") in minting.browsers[0].ledger, what="the call to run")
        seen: list[bool] = []
        store: Any = nodes[0].mooring._node.store
        give = store.give

        async def give_and_see(shard: str, *others: Any) -> Any:
            if shard == handle[3:8]:
                seen.append((handle, "cancelled") in minting.browsers[0].ledger)
            return await give(shard, *others)

        store.give = give_and_see
        await nodes[0].mooring.drain()
        assert is_given(nodes[0])
        assert seen == [True]
        assert refusal_in(await asking) == "outcome_unknown"


async def test_so_does_one_in_a_session_of_another_shard(raw: RawClient) -> None:
    minting = Minting()
    async with running_nodes(minting, 2, drain_seconds=20.0, ingress_seconds=0.05) as nodes:
        node, browsers = nodes[0].mooring._node, minting.browsers[0]
        handle = await opened_on(nodes[0])
        session = await raw.open(nodes[0].url)
        assert session[:5] != handle[3:8]
        headers = {"mcp-protocol-version": "2025-11-25"}
        asking = asyncio.create_task(raw.call(nodes[0].url, session, body=slow_visit(handle), headers=headers))
        await once(lambda: (handle, "begins") in browsers.ledger, what="the call to run")
        draining = asyncio.create_task(nodes[0].mooring.drain())
        await once(lambda: len(node.membership.shards) <= 2, what="all other shards to go")
        assert not await HandOver(node, Reconnects(0)).give(handle[3:8], nodes[1].mooring._node.describe(), 0.05)
        browsers.finish.set()
        assert not (await asking).json["result"].get("isError")
        await draining
        assert is_given(nodes[0])
