"""A store that is silent for a moment costs a request time, and nothing else, whatever it asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from mcp.server.mcpserver import MCPServer

from mooring import ClosedSession
from mooring.errors import StoreUnavailable
from mooring.node.node import Node
from mooring.node.requests.patience import patiently
from mooring.settings import Settings
from mooring.store import MemoryStore
from mooring.store.journal import Call
from tests.cluster_in_process import running_nodes
from tests.fakes import FlakyStore
from tests.node.requests.test_call_states import Legacy
from tests.node.requests.test_json_calls import lost, some_cluster
from tests.node.requests.test_kept_handles import heard
from tests.node.requests.test_modern import META, post, refusal_in
from tests.node.rpc import RawClient
from tests.node.state_nodes import VERSION, request, sdk_app, state_nodes
from tests.servers.counters import CountingNodes
from tests.waiting import until


async def _away() -> None:
    raise StoreUnavailable("away for one call")


def _node(hold_seconds: float) -> Node:
    class Holding:
        settings = Settings.load(hold_seconds=hold_seconds)

    return cast("Node", Holding())


async def test_it_is_asked_until_it_answers_or_the_request_was_held_for_as_long_as_it_may_be() -> None:
    asked: list[int] = []

    def failing(times: int) -> Callable[[], Awaitable[str]]:
        async def ask() -> str:
            asked.append(times)
            if len(asked) <= times:
                await _away()
            return "there"

        return ask

    assert await patiently(_node(10), failing(2)) == "there"
    assert len(asked) == 3
    asked.clear()
    with pytest.raises(StoreUnavailable):
        await patiently(_node(0.5), failing(1000))
    assert 1 < len(asked) <= 3
    asked.clear()
    with pytest.raises(StoreUnavailable):
        await patiently(_node(0), failing(1))
    assert len(asked) == 1


@pytest.mark.parametrize("is_silent_at", ["calls", "settle"])
async def test_a_call_that_is_sent_again_hears_what_became_of_it(raw: RawClient, is_silent_at: str) -> None:
    store = FlakyStore(MemoryStore())
    async with some_cluster(raw, store) as cluster:
        call = await cluster.begin()
        await cluster.kill()
        await lost(call)
        store.before[is_silent_at] = _away
        assert (await cluster.send(1)).reason == "outcome_unknown"
        assert is_silent_at not in store.before


async def test_a_call_that_could_not_be_noted_is_on_record_soon_and_not_carried_out_twice(raw: RawClient) -> None:
    store = FlakyStore(MemoryStore())
    async with some_cluster(raw, store) as cluster:
        store.before["note_calls"] = _away
        async with asyncio.timeout(20):
            call = await cluster.begin()
        assert "note_calls" not in store.before
        await cluster.kill()
        await lost(call)
        assert (await cluster.send(1)).reason == "outcome_unknown"
        assert [worker.called for worker in cluster.workers] == [1, 0, 0]


async def test_a_transactional_call_that_could_not_be_noted_is_carried_out_again_all_the_same(raw: RawClient) -> None:
    async with state_nodes(raw, 2, sdk_app) as nodes:
        session = await nodes.open()
        nodes.store.before["note_calls"] = _away
        event_id = await raw.first_id(nodes.running[0].url, session, request("hold", entry="a"), VERSION)

        async def can_be_run_again() -> bool:
            calls = await nodes.store.inner.journal.calls(session)
            return any(isinstance(call, Call) and call.is_transactional for call in calls)

        await until(can_be_run_again, what="the call to be on record", seconds=20)
        await nodes.kill()
        headers = {**VERSION, "last-event-id": event_id, "accept": "text/event-stream"}
        heard = await raw.first_words("GET", f"{nodes.running[1].url}/mcp", session=session, headers=headers)
        assert json.loads(heard[6:])["result"]["content"][0]["text"] == "1"


@pytest.mark.parametrize("is_silent_at", ["calls", "read", "settle"])
async def test_whoever_comes_back_for_a_stream_hears_what_became_of_it(raw: RawClient, is_silent_at: str) -> None:
    def app() -> Any:
        server = MCPServer("state")

        @server.tool()
        async def wait() -> str:
            await asyncio.Event().wait()
            return "never"

        return server.streamable_http_app()

    async with state_nodes(raw, 2, app) as nodes:
        session = await nodes.open()
        event_id = await raw.first_id(nodes.running[0].url, session, request("wait"), VERSION)
        await until(nodes.has_called("note_all"), what="the call to be on record")
        await nodes.kill()
        nodes.store.before[is_silent_at] = _away
        headers = {**VERSION, "last-event-id": event_id, "accept": "text/event-stream"}
        heard = await raw.first_words("GET", f"{nodes.running[1].url}/mcp", session=session, headers=headers)
        assert b"outcome_unknown" in heard
        assert is_silent_at not in nodes.store.before


@pytest.mark.parametrize("is_silent_at", ["load_session", "load_state"])
async def test_a_call_with_two_handles_has_what_is_kept_of_both(raw: RawClient, is_silent_at: str) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(CountingNodes(MCPServer), 1, store) as [node]:
        legacy = Legacy(raw, [node], await raw.open(node.url))
        for by_session in (False, True):
            one, other = [await legacy.ask(0, "new_counter") for _ in range(2)]
            for counter in (one, other):
                await legacy.ask(0, "count_up", counter=counter)
            node.mooring._node.sessions.handles.move_away(other[3:8])  # as after a restart
            store.before[is_silent_at] = _away
            if by_session:
                assert not (await legacy.ask(0, "add_to_both", counter=one, other=other)).startswith("error")
            else:
                body = request("add_to_both", counter=one, other=other)
                body["params"]["_meta"] = META
                assert not (await post(raw, node, body, tool="add_to_both")).json["result"].get("isError")
            assert is_silent_at not in store.before
            assert await heard(raw, node, other) == "3"


@pytest.mark.parametrize("by_session", [True, False], ids=["in a session", "without one"])
async def test_a_second_handle_of_which_nobody_knows_for_long_is_not_said_to_be_gone(
    raw: RawClient, by_session: bool
) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(CountingNodes(MCPServer), 1, store, hold_seconds=0.5) as [node]:
        legacy = Legacy(raw, [node], await raw.open(node.url))
        one, other = [await legacy.ask(0, "new_counter") for _ in range(2)]
        await legacy.ask(0, "count_up", counter=other)
        node.mooring._node.sessions.handles.move_away(other[3:8])  # as after a restart

        async def away() -> None:
            store.before["load_state"] = away
            raise StoreUnavailable("away")

        store.before["load_state"] = away
        if by_session:
            reply = await legacy.send(0, "add_to_both", counter=one, other=other)
            assert (reply.status, reply.reason) == (200, "unreachable")
        else:
            body = request("add_to_both", counter=one, other=other)
            body["params"]["_meta"] = META
            assert refusal_in(await post(raw, node, body, tool="add_to_both")) == "unreachable"
        del store.before["load_state"]
        assert await heard(raw, node, one) == "1", "nothing of it was carried out"
        assert await heard(raw, node, other) == "2"


@pytest.mark.parametrize("is_silent_at", ["load_session", "delete_session"])
async def test_a_session_that_is_ended_where_it_is_not_any_more_is_ended(raw: RawClient, is_silent_at: str) -> None:
    async with state_nodes(raw, 2, sdk_app) as nodes:
        session = await nodes.open()
        await nodes.kill()
        nodes.store.before[is_silent_at] = _away
        reply = await raw.send("DELETE", f"{nodes.running[1].url}/mcp", session=session)
        assert reply.status == 200
        assert is_silent_at not in nodes.store.before
        assert await nodes.store.inner.load_session(session) is None


async def test_so_hears_its_author_once_where_the_answer_of_the_store_is_lost(raw: RawClient) -> None:
    closed: list[ClosedSession] = []
    async with state_nodes(raw, 2, sdk_app) as nodes:
        nodes.running[1].mooring.on_close(closed.append)
        session = await nodes.open()
        await nodes.kill()
        nodes.store.after["delete_session"] = _away
        for status in (200, 404):
            assert (await raw.send("DELETE", f"{nodes.running[1].url}/mcp", session=session)).status == status
        await nodes.running[1].mooring._node.sessions.settle()
        assert [(one.id, one.reason) for one in closed] == [(session, "deleted")]
