"""Handles whose process is gone: what was kept of them is brought to the node that is asked, for their principal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from mcp.server.mcpserver import MCPServer

from mooring.errors import StoreUnavailable
from mooring.node.requests import deciding
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import FlakyStore
from tests.node.requests.test_call_states import ask
from tests.node.requests.test_modern import META, post, refusal_in, with_users
from tests.node.rpc import RawClient, Reply
from tests.node.state_nodes import request, said
from tests.servers.counters import CountingNodes


@pytest.fixture
def apps() -> CountingNodes:
    return CountingNodes(MCPServer)


async def test_two_that_lost_their_process_are_both_brought_for_one_call(apps: CountingNodes) -> None:
    async with running_nodes(apps, 2, shards=1) as nodes:
        one, other = [await ask(nodes[0], "new_counter") for _ in range(2)]
        await nodes[0].vanish()
        assert not (await ask(nodes[1], "add_to_both", counter=one, other=other)).startswith("error")
        assert [number for _, number in apps.processes[1].ledger] == [1, 1]


async def test_one_call_reads_it_and_the_next_ones_do_not(apps: CountingNodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 2, store) as nodes:
        counter = await ask(nodes[0], "new_counter")
        await nodes[0].vanish()
        await ask(nodes[1], "count_up", counter=counter)
        read = store.calls.count("load_state")
        await ask(nodes[1], "count_up", counter=counter)
        assert store.calls.count("load_state") == read == 1


async def test_one_that_was_looked_at_and_never_written_is_gone_with_its_process(apps: CountingNodes) -> None:
    async with running_nodes(apps, 2) as nodes:
        counter = await ask(nodes[0], "new_counter", empty=True)
        assert await ask(nodes[0], "look", counter=counter) == "{}"
        node = nodes[0].mooring._node
        node.sessions.handles.kept[counter].touched = 0.0  # a while ago
        await node.sessions.records.flush()
        await nodes[0].vanish()
        assert "is gone" in await ask(nodes[1], "look", counter=counter)


async def test_a_store_that_does_not_answer_for_a_moment_is_asked_again(apps: CountingNodes, raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store) as [node]:
        counter = await ask(node, "new_counter")
        node.mooring._node.sessions.handles.move_away(str(counter)[3:8])  # as after a restart

        async def fails() -> None:
            raise StoreUnavailable("away")

        store.before["load_session"] = fails
        assert await heard(raw, node, counter) == "1"


async def test_a_store_that_does_not_answer_for_as_long_as_a_call_may_wait_makes_it_unreachable(
    apps: CountingNodes, raw: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "_AGAIN_SECONDS", 0.001)  # as often in two seconds as in minutes
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store, hold_seconds=2.0) as [node]:
        counter = await ask(node, "new_counter")
        node.mooring._node.sessions.handles.move_away(str(counter)[3:8])  # as after a restart

        async def fails() -> None:
            store.before["load_session"] = fails
            raise StoreUnavailable("away")

        store.before["load_session"] = fails
        assert await heard(raw, node, counter) == "unreachable"


async def heard(raw: RawClient, node: RunningNode, counter: str, *, by: str = "") -> str:
    body = request("count_up", counter=counter)
    body["params"]["_meta"] = META
    headers = [("x-user", by)] if by else []
    reply = await post(raw, node, body, tool="count_up", headers=headers)
    return refusal_in(reply) if reply.json["result"].get("isError") else said(reply)


async def test_a_stranger_gets_nothing_of_it_and_brings_nothing_here(apps: CountingNodes, raw: RawClient) -> None:
    async with running_nodes(lambda: with_users(apps()), 2) as nodes:
        body = request("new_counter")
        body["params"]["_meta"] = META
        counter = said(await post(raw, nodes[0], body, tool="new_counter", headers=[("x-user", "alice")]))
        assert await heard(raw, nodes[0], counter, by="alice") == "1"
        await nodes[0].vanish()
        for stranger in ("mallory", ""):
            assert await heard(raw, nodes[1], counter, by=stranger) == "unknown_handle"
        assert nodes[1].mooring._node.sessions.handles.find(counter) is None
        assert apps.processes[1].ledger == []
        assert await heard(raw, nodes[1], counter, by="alice") == "2"


async def test_one_that_was_ended_does_not_come_back_while_its_record_is_being_removed(apps: CountingNodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store) as [node]:
        counter = await ask(node, "new_counter")
        await ask(node, "count_up", counter=counter)
        is_looked_at = asyncio.Event()
        store.before["delete_session"] = is_looked_at.wait  # a store that takes its time
        assert await ask(node, "end", counter=counter) == "ended"
        heard = await ask(node, "count_up", counter=counter)
        is_looked_at.set()
        assert "is gone" in heard


async def test_one_that_was_ended_does_not_come_back_where_its_removal_is_due(apps: CountingNodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store, heartbeat_seconds=60.0, lease_seconds=600.0) as [node]:
        counter = await ask(node, "new_counter")

        async def fails() -> None:
            raise StoreUnavailable("away")

        store.before["delete_session"] = fails
        assert await ask(node, "end", counter=counter) == "ended"
        await node.mooring._node.sessions.settle()
        assert "is gone" in await ask(node, "count_up", counter=counter)


def slow_to_ask(app: Any, is_asked: asyncio.Event, goes_on: asyncio.Event) -> Any:
    """Around an app: it reads nothing of a call that says so until it goes on, as one that asks who sent it."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if any(key == b"x-slow" for key, _ in scope.get("headers", [])):
            is_asked.set()
            await goes_on.wait()
        await app(scope, receive, send)

    return slow


@dataclass
class OfAlice:
    """A counter of hers whose process is gone, and a call with it of which the next one has read nothing yet."""

    node: RunningNode
    counter: str
    asking: asyncio.Task[Reply]
    goes_on: asyncio.Event


async def call_of_alice(
    raw: RawClient, node: RunningNode, tool: str, *more: tuple[str, str], **arguments: Any
) -> Reply:
    body = request(tool, **arguments)
    body["params"]["_meta"] = META
    return await post(raw, node, body, tool=tool, headers=[("x-user", "alice"), *more])


@pytest.fixture
async def of_alice(apps: CountingNodes, raw: RawClient) -> AsyncIterator[OfAlice]:
    is_asked, goes_on = asyncio.Event(), asyncio.Event()
    async with running_nodes(lambda: with_users(slow_to_ask(apps(), is_asked, goes_on)), 2) as nodes:
        counter = said(await call_of_alice(raw, nodes[0], "new_counter"))
        await nodes[0].vanish()
        asking = asyncio.create_task(call_of_alice(raw, nodes[1], "look", ("x-slow", "yes"), counter=counter))
        await is_asked.wait()
        yield OfAlice(nodes[1], counter, asking, goes_on)


async def test_one_whose_shard_was_lost_before_its_caller_was_known_is_not_here(of_alice: OfAlice) -> None:
    node = of_alice.node.mooring._node
    shard = of_alice.counter[3:8]
    node.membership.let_go(shard)
    node.sessions.fence(shard)  # as the heartbeat does
    of_alice.goes_on.set()
    assert refusal_in(await of_alice.asking) == "unreachable"  # nothing was carried out, and it may be sent again
    assert node.sessions.handles.find(of_alice.counter) is None


async def test_one_that_was_ended_before_another_caller_was_known_is_gone(of_alice: OfAlice, raw: RawClient) -> None:
    assert said(await call_of_alice(raw, of_alice.node, "end", counter=of_alice.counter)) == "ended"
    await of_alice.node.mooring._node.sessions.settle()
    of_alice.goes_on.set()
    assert said(await of_alice.asking) != "{'n': 0}"
    assert of_alice.node.mooring._node.sessions.handles.find(of_alice.counter) is None
