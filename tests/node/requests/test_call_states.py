"""State that is kept under handles: on record with the answer of each call, in both eras."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import fastmcp
import pytest
from mcp.server.mcpserver import MCPServer

import mooring
from mooring import NoHandle
from mooring.asgi import Scope
from mooring.core.handles import Handles
from mooring.core.jsonrpc import Message
from mooring.errors import StoreUnavailable
from mooring.node.current import Serving
from mooring.node.requests.call_states import CallStates
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp
from tests.node.direct import joined
from tests.node.requests.test_modern import META, call, post, text_of, with_users
from tests.node.rpc import RawClient, Reply
from tests.node.state_nodes import VERSION, request, said
from tests.servers.counters import CountingNodes
from tests.waiting import until

shapes = pytest.mark.parametrize(
    "make_apps",
    [
        partial(CountingNodes, MCPServer),
        partial(CountingNodes, MCPServer, json_response=True),
        partial(CountingNodes, fastmcp.FastMCP),
        partial(CountingNodes, fastmcp.FastMCP, json_response=True),
    ],
    ids=["sdk", "sdk json", "fastmcp", "fastmcp json"],
)
"""Of each SDK, with answers in streams and in JSON."""


@pytest.fixture
def apps() -> CountingNodes:
    return CountingNodes(MCPServer)


@pytest.fixture
async def going_on(apps: CountingNodes) -> AsyncIterator[None]:
    """What is held goes on in the end."""
    yield
    for process in apps.processes:
        process.go_on.set()


async def ask(node: RunningNode, tool: str, **arguments: Any) -> str:
    result = await call(node.url, tool, **arguments)
    return f"error: {text_of(result)}" if result.is_error else text_of(result)


@shapes
async def test_a_counter_goes_on_where_its_process_is_gone(make_apps: Any) -> None:
    async with running_nodes(make_apps()) as nodes:
        counter = await ask(nodes[0], "new_counter")
        for n in range(1, 4):
            assert await ask(nodes[n % 3], "count_up", counter=counter) == str(n)
        await nodes[0].vanish()
        assert await ask(nodes[1], "count_up", counter=counter) == "4"
        assert await ask(nodes[2], "count_in_thread", counter=counter) == "5"
        assert await ask(nodes[2], "look", counter=counter) == "{'n': 5}"


async def test_it_goes_on_where_its_process_drains_and_nothing_is_said_to_be_gone(
    apps: CountingNodes, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes(apps, 2, drain_seconds=2.0, ingress_seconds=0.05) as nodes:
        counter = await ask(nodes[0], "new_counter")
        assert await ask(nodes[1], "count_up", counter=counter) == "1"
        await nodes[0].mooring.drain()
        assert await ask(nodes[0], "count_up", counter=counter) == "2"
    assert [number for _, number in apps.processes[1].ledger] == [2]
    assert "handles are gone" not in caplog.text


async def test_a_thread_may_mint_one_and_begin_its_state(apps: CountingNodes) -> None:
    async with running_nodes(apps, 2) as nodes:
        counter = await ask(nodes[0], "new_in_thread")
        await nodes[0].vanish()
        assert await ask(nodes[1], "count_up", counter=counter) == "101"


async def test_one_of_which_nothing_was_kept_is_gone_with_its_process(apps: CountingNodes) -> None:
    async with running_nodes(apps, 2) as nodes:
        counter = await ask(nodes[0], "new_counter", empty=True)
        await nodes[0].vanish()
        assert "is gone" in await ask(nodes[1], "look", counter=counter)


async def test_calls_that_change_nothing_write_nothing(apps: CountingNodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store) as [node]:
        counter = await ask(node, "new_counter")
        commits = store.calls.count("commit")
        assert await ask(node, "look", counter=counter) == "{'n': 0}"
        assert store.calls.count("commit") == commits
        await ask(node, "count_up", counter=counter)
        assert store.calls.count("commit") == commits + 1


async def test_many_at_once_count_each_call_once(apps: CountingNodes) -> None:
    async with running_nodes(apps) as nodes:
        counter = await ask(nodes[0], "new_counter")
        said = await asyncio.gather(*(ask(nodes[n % 3], "count_up", counter=counter) for n in range(30)))
        assert sorted(map(int, said)) == list(range(1, 31))
        await nodes[0].vanish()
        assert await ask(nodes[1], "look", counter=counter) == "{'n': 30}"


async def test_two_of_one_call_are_each_kept(apps: CountingNodes) -> None:
    async with running_nodes(apps, 2) as nodes:
        one = await ask(nodes[0], "new_counter")
        other = await ask(nodes[0], "new_counter")
        await ask(nodes[1], "add_to_both", counter=one, other=other)
        await nodes[0].vanish()
        for counter in (one, other):
            assert await ask(nodes[1], "count_up", counter=counter) == "2"


async def test_what_a_tool_changed_before_it_raised_is_kept_as_in_one_process(apps: CountingNodes) -> None:
    async with running_nodes(apps, 2) as nodes:
        counter = await ask(nodes[0], "new_counter")
        assert "failed at 1" in await ask(nodes[0], "add_and_fail", counter=counter)
        await nodes[0].vanish()
        assert await ask(nodes[1], "count_up", counter=counter) == "2"


@shapes
@pytest.mark.parametrize(("what", "why"), [("set", "not JSON"), ("x", "state_bytes")])
async def test_what_cannot_be_kept_fails_its_call_and_changes_nothing(make_apps: Any, what: str, why: str) -> None:
    async with running_nodes(make_apps(), 1, state_bytes=1024) as [node]:
        counter = await ask(node, "new_counter")
        answer = await ask(node, "keep", counter=counter, what=what)
        assert answer.startswith("error: What this call changed in the state of its handle is not kept")
        assert why in answer
        assert await ask(node, "count_up", counter=counter) == "1"


@shapes
async def test_a_store_that_takes_nothing_fails_the_call_and_a_later_one_counts_on(make_apps: Any) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(make_apps(), 1, store, hold_seconds=0.3) as [node]:
        counter = await ask(node, "new_counter")

        async def fails() -> None:
            store.away = True
            raise StoreUnavailable("away")

        store.before["commit"] = fails
        assert "could not be written down" in await ask(node, "count_up", counter=counter)
        store.away = False

        async def counts() -> bool:
            return await ask(node, "count_up", counter=counter) == "1"

        await until(counts, what="the store to be believed again")


async def test_a_store_that_was_emptied_has_it_again(apps: CountingNodes) -> None:
    inner = MemoryStore()
    store = FlakyStore(inner)
    async with running_nodes(apps, 2, store) as nodes:
        counter = await ask(nodes[0], "new_counter")
        await ask(nodes[0], "count_up", counter=counter)
        await inner.delete_session(counter, 0)
        inner._removed.clear()
        assert await ask(nodes[0], "count_up", counter=counter) == "2"
        await inner.delete_session(counter, 0)
        inner._removed.clear()
        nodes[0].mooring._node.sessions.records.write_all_again(from_the_start=True)

        async def is_there() -> bool:
            return (await inner.journal.load_state(counter))[0] not in (b"", None)

        await until(is_there, what="the state to be written again")
        await nodes[0].vanish()
        assert await ask(nodes[1], "count_up", counter=counter) == "3"


async def test_one_that_was_ended_is_gone_and_its_state_off_the_record(apps: CountingNodes) -> None:
    store = MemoryStore()
    async with running_nodes(apps, 2, store) as nodes:
        counter = await ask(nodes[0], "new_counter")
        assert await ask(nodes[1], "end", counter=counter) == "ended"
        assert "is gone" in await ask(nodes[1], "count_up", counter=counter)
        await nodes[0].mooring._node.sessions.settle()
        assert await store.load_session(counter) is None
        assert (await store.journal.load_state(counter))[0] == b""


async def test_an_idle_one_leaves_memory_and_comes_back_with_its_state(apps: CountingNodes) -> None:
    async with running_nodes(apps, 1, handle_idle_seconds=0.2) as [node]:
        counter = await ask(node, "new_counter")
        await ask(node, "count_up", counter=counter)

        async def has_left() -> bool:
            return node.mooring._node.sessions.handles.find(counter) is None

        await until(has_left, what="it to be idle")
        assert await ask(node, "count_up", counter=counter) == "2"


async def test_records_of_handles_are_no_sessions(apps: CountingNodes) -> None:
    store = MemoryStore()
    async with running_nodes(apps, 1, store) as [node]:
        counter = await ask(node, "new_counter")
        assert await store.load_session(counter) is not None
        assert [record.id async for record in store.sessions()] == []


@pytest.mark.usefixtures("going_on")
async def test_a_call_that_outlasts_its_shard_is_cut_off_and_nothing_of_it_is_kept(
    apps: CountingNodes, raw: RawClient
) -> None:
    async with running_nodes(apps, 2) as nodes:
        counter = await ask(nodes[0], "new_counter")
        asking = asyncio.create_task(ask(nodes[0], "add_slowly", counter=counter))
        await apps.processes[0].is_held.wait()
        handle = nodes[0].mooring._node.handles.read(counter)
        assert handle is not None
        nodes[0].mooring._node.sessions.handles.fence(handle.shard)
        assert "nobody knows whether it was carried out" in await asking
        apps.processes[0].go_on.set()


async def test_a_node_that_lost_its_lease_unnoticed_keeps_nothing(apps: CountingNodes) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(apps, 1, store) as [node]:
        counter = await ask(node, "new_counter")

        async def another_owns_it() -> None:
            record = await store.inner.load_session(counter)
            assert record is not None
            store.inner._sessions[counter] = (  # type: ignore[attr-defined]
                mooring.SessionRecord(**{**vars_of(record), "epoch": record.epoch + 1}),
                float("inf"),
            )

        store.before["commit"] = another_owns_it
        assert "moved to another process" in await ask(node, "count_up", counter=counter)
        assert (await store.inner.journal.load_state(counter))[0] == b'{"own":{"n":0}}'


def vars_of(record: mooring.SessionRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


async def test_of_a_handle_of_nobody_here_its_tool_hears_so(apps: CountingNodes) -> None:
    async with running_nodes(apps, 1) as [node]:
        assert "there is no such handle here" in await ask(node, "look", counter="no handle at all")


async def test_what_a_call_changes_after_its_answer_is_refused_in_one_way() -> None:
    async with joined(ScriptedApp()) as one:
        handle = mooring.new_handle("counter")
        scope: Scope = {}
        states = CallStates(one._node, NoBody(), scope)
        with Serving(one._node, scope, handles=states):
            mooring.state(handle)["n"] = 1
            assert await states.answer("an answer", "") == "an answer"
            for text in (handle, mooring.new_handle("counter")):
                with pytest.raises(NoHandle, match="was answered"):
                    mooring.state(text)


class NoBody:
    """Of a request that nobody can read."""

    def message(self) -> Message:
        return {}

    def asked(self) -> None:
        return None


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(NoHandle, match="this is no call"):
        mooring.state(Handles("a secret").mint("abcde", "counter", bytes(16)))


class Legacy:
    """A session of before at one of the nodes."""

    def __init__(self, raw: RawClient, nodes: list[RunningNode], session: str) -> None:
        self.raw, self.nodes, self.session = raw, nodes, session

    async def send(self, at: int, tool: str, **arguments: Any) -> Reply:
        body = request(tool, **arguments)
        return await self.raw.call(self.nodes[at].url, self.session, body=body, headers=VERSION)

    async def ask(self, at: int, tool: str, **arguments: Any) -> str:
        reply = await self.send(at, tool, **arguments)
        assert reply.status == 200, reply.body
        return ("error: " if reply.json["result"].get("isError") else "") + said(reply)


@shapes
async def test_in_a_session_of_before_the_same_tools_do_the_same(make_apps: Any, raw: RawClient) -> None:
    async with running_nodes(make_apps(), 2) as nodes:
        legacy = Legacy(raw, nodes, await raw.open(nodes[0].url))
        counter = await legacy.ask(0, "new_counter")
        assert await legacy.ask(1, "count_up", counter=counter) == "1"
        assert await legacy.ask(0, "keep_of_session", counter=counter) == "2"
        await nodes[0].vanish()
        assert await legacy.ask(1, "count_in_thread", counter=counter) == "3"
        assert await ask(nodes[1], "count_up", counter=counter) == "4", "in the other era as well"


async def test_a_session_brings_what_is_kept_of_a_handle_however_that_is_spelled(
    apps: CountingNodes, raw: RawClient
) -> None:
    async with running_nodes(apps, 2, shards=1) as nodes:
        legacy = Legacy(raw, nodes, await raw.open(nodes[0].url))
        counters = [await legacy.ask(0, "new_counter") for _ in range(4)]
        await nodes[0].vanish()

        async def answered(message: dict[str, Any], tilde: str = "~") -> str:
            body = json.dumps(message).replace("~", tilde).encode()
            return (await raw.call(nodes[1].url, legacy.session, body=body, headers=VERSION)).body.decode()

        uri = {"uri": f"counter://{counters[0]}/heard"}
        read = {"jsonrpc": "2.0", "id": 7, "method": "resources/read", "params": uri}
        assert "{'n': 0}" in await answered(read, "%7E")
        assert "error" not in await answered(request("count_up", counter=counters[1]), r"\u007e")
        in_text = request("count_all", counters=json.dumps([counters[2]]))
        assert "error" not in await answered(in_text, r"\\u007e")
        large = request("count_all", counters=[counters[3]], note="x" * 2 * 1024 * 1024)
        assert "error" not in await answered(large)
        assert [await legacy.ask(1, "look", counter=counter) for counter in counters[1:]] == ["{'n': 1}"] * 3


async def test_a_transactional_call_of_a_session_gets_no_handles_state(apps: CountingNodes, raw: RawClient) -> None:
    async with running_nodes(apps, 1) as nodes:
        legacy = Legacy(raw, nodes, await raw.open(nodes[0].url))
        counter = await legacy.ask(0, "new_counter")
        heard = await legacy.ask(0, "add_transactional", counter=counter)
        assert "changes nothing but its session's state" in heard
        assert await legacy.ask(0, "look", counter=counter) == "{'n': 0}"


async def test_a_batch_gets_none(raw: RawClient, apps: CountingNodes) -> None:
    async with running_nodes(apps, 1) as nodes:
        legacy = Legacy(raw, nodes, await raw.open(nodes[0].url))
        counter = await legacy.ask(0, "new_counter")
        body = [request("count_up", counter=counter), request("count_up", counter=counter)]
        await raw.call(nodes[0].url, legacy.session, body=body, headers=VERSION)
        assert await legacy.ask(0, "look", counter=counter) == "{'n': 0}"


async def test_a_session_keeps_the_handles_that_it_names_in_use(raw: RawClient, apps: CountingNodes) -> None:
    async with running_nodes(apps, 1, handle_idle_seconds=30.0) as nodes:
        legacy = Legacy(raw, nodes, await raw.open(nodes[0].url))
        counter = await legacy.ask(0, "new_counter", empty=True)
        local = nodes[0].mooring._node.sessions.handles.find(counter)
        assert local is not None
        local.last_used = 0.0
        await legacy.ask(0, "look", counter=counter)
        assert local.last_used > 0.0


async def test_a_stranger_in_a_session_keeps_no_handle_in_use(raw: RawClient, apps: CountingNodes) -> None:
    async with running_nodes(lambda: with_users(apps()), 1, handle_idle_seconds=30.0) as [node]:
        session = await raw.open(node.url, headers={"x-user": "alice"})

        async def look(user: str, tool: str, **arguments: Any) -> Reply:
            body = request(tool, **arguments)
            return await raw.call(node.url, session, body=body, headers={**VERSION, "x-user": user})

        counter = said(await look("alice", "new_counter"))
        local = node.mooring._node.sessions.handles.find(counter)
        assert local is not None
        local.last_used = 0.0
        assert (await look("mallory", "look", counter=counter)).status == 404
        assert local.last_used == 0.0
        assert said(await look("alice", "look", counter=counter)) == "{'n': 0}"
        assert local.last_used > 0.0


async def test_a_client_that_leaves_cancels_its_call_and_what_it_changed_is_kept(
    apps: CountingNodes, raw: RawClient
) -> None:
    async with running_nodes(apps, 2) as nodes:
        counter = await ask(nodes[0], "new_counter")
        body = request("add_slowly", counter=counter)
        body["params"]["_meta"] = META
        asking = asyncio.create_task(post(raw, nodes[0], body, tool="add_slowly"))
        await apps.processes[0].is_held.wait()
        asking.cancel()

        async def is_kept() -> bool:
            state, _ = await nodes[0].mooring._node.store.journal.load_state(counter)
            return state == b'{"own":{"n":1}}'

        await until(is_kept, what="what it changed to be on record")


@pytest.mark.usefixtures("going_on")
async def test_one_does_not_get_idle_while_a_call_of_a_session_with_it_runs(
    apps: CountingNodes, raw: RawClient
) -> None:
    async with running_nodes(apps, 1) as nodes:
        legacy = Legacy(raw, nodes, await raw.open(nodes[0].url))
        counter = await legacy.ask(0, "new_counter")
        asking = asyncio.create_task(legacy.ask(0, "add_slowly", counter=counter))
        await apps.processes[0].is_held.wait()
        handles = nodes[0].mooring._node.sessions.handles
        local = handles.find(counter)
        assert local is not None
        local.last_used = 0.0
        handles.end_idle(30.0)
        heard = [await ask(nodes[0], "count_up", counter=counter)]
        apps.processes[0].go_on.set()
        assert [await asking, *heard] == ["1", "2"]
        assert await ask(nodes[0], "look", counter=counter) == "{'n': 2}"
        assert local.in_use == 0
