"""What FastMCP's tools set goes with the state of their session; what is nobody's session stays where it is."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

import pytest
from fastmcp import Client, Context, FastMCP
from fastmcp.client.transports import SSETransport
from key_value.aio.protocols import AsyncKeyValue
from key_value.aio.stores.memory import MemoryStore as TheirMemory

from mooring import SessionStateStore
from mooring.asgi import App
from mooring.core.kept_state import KeptState, StateUse
from mooring.node import fastmcp_state
from mooring.node.current import Serving
from mooring.node.fastmcp_state import keep_state_of
from tests.cluster_in_process import running_nodes
from tests.fakes import Clock
from tests.node.rpc import RawClient
from tests.node.state_nodes import fastmcp_app, state_nodes

both = pytest.mark.parametrize("options", [{}, {"json_response": True}], ids=["events", "json"])


@both
async def test_what_a_tool_sets_survives_its_node(options: dict[str, Any], raw: RawClient) -> None:
    async with state_nodes(raw, 2, partial(fastmcp_app, **options)) as nodes:
        session, other = await nodes.open(), await nodes.open()
        for n in (1, 2, 3):
            assert await nodes.call(session, "count") == str(n)
        assert await nodes.call(other, "count") == "1"
        await nodes.call(session, "add", entry="beside it")
        await nodes.running[0].vanish()
        assert await nodes.call(session, "count", at=1) == "4"
        assert await nodes.call(other, "recall", at=1) == "1"
        assert (await nodes.look(session, at=1))["count"] == 1, "the author's own is something else"


async def test_a_server_that_is_mounted_keeps_its_own(raw: RawClient) -> None:
    def app() -> App:
        outer, inner = FastMCP("outer"), FastMCP("inner")
        for server in (outer, inner):

            @server.tool
            async def count(ctx: Context) -> str:
                value = (await ctx.get_state("count") or 0) + 1
                await ctx.set_state("count", value)
                return str(value)

        outer.mount(inner, namespace="inner")
        keep_state_of(outer)
        return outer.http_app(path="/mcp")

    async with state_nodes(raw, 2, app) as nodes:
        session = await nodes.open()
        assert [await nodes.call(session, name) for name in ("count", "count", "inner_count")] == ["1", "2", "1"]
        await nodes.running[0].vanish()
        assert [await nodes.call(session, name, at=1) for name in ("count", "inner_count")] == ["3", "2"]


async def test_to_look_and_to_list_writes_nothing(raw: RawClient) -> None:
    async with state_nodes(raw, 1, fastmcp_app) as nodes:
        session = await nodes.open()
        assert await nodes.call(session, "recall") == "null"
        await nodes.call(session, "count")
        assert nodes.commits == 1
        assert await nodes.call(session, "recall") == "1"
        assert nodes.commits == 1


def test_a_server_that_has_a_store_keeps_it_and_others_are_left_alone() -> None:
    theirs = TheirMemory()
    with_one, without = FastMCP("a", session_state_store=theirs), FastMCP("b")
    for server in (with_one, without, object()):
        keep_state_of(server)
    assert with_one._state_storage is theirs
    assert isinstance(without._state_storage, SessionStateStore)


async def test_it_does_all_that_a_store_of_theirs_does() -> None:
    store: AsyncKeyValue = SessionStateStore()
    await store.put_many(["a", "b"], [{"n": 1}, {"n": 2}], collection="c")
    assert await store.get_many(["a", "b", "z"], collection="c") == [{"n": 1}, {"n": 2}, None]
    assert await store.get("a") is None
    assert await store.ttl_many(["a", "z"], collection="c") == [({"n": 1}, None), (None, None)]
    assert await store.delete_many(["a", "z"], collection="c") == 1
    assert not await store.delete("a", collection="c")


@pytest.mark.parametrize("in_session", [True, False])
async def test_a_value_ends_in_its_time_and_is_written_again_only_when_that_is_nearer(in_session: bool) -> None:
    clock = Clock()
    store, state = SessionStateStore(now=clock), KeptState()
    use = StateUse(state)
    key = "a session:count" if in_session else "user:ada:rules"
    with Serving(None, {}, use=use):
        await store.put(key, {"value": [1]}, ttl=100)
        first = state.due(use)
        assert (first is not None) == in_session
        clock.now += 5
        await store.put(key, {"value": [1]}, ttl=100)
        assert state.due(use) == first
        assert (await store.ttl(key)) == ({"value": [1]}, 95)
        clock.now += 10
        await store.put(key, {"value": [1]}, ttl=100)
        assert (await store.ttl(key)) == ({"value": [1]}, 100)
        clock.now += 101
        assert await store.get(key) is None
        await store.put("a session:other", {"value": 2})
        assert len(use.part("fastmcp")) == 1


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1.0, 1), ([{"n": 0}], [{"n": False}])])
async def test_a_value_that_python_takes_for_the_same_is_another_one(before: Any, after: Any) -> None:
    store, use = SessionStateStore(), StateUse(KeptState())
    with Serving(None, {}, use=use):
        await store.put("a session:x", {"value": before})
        await store.put("a session:x", {"value": after})
        found = await store.get("a session:x")
        assert repr(found) == repr({"value": after})


async def test_what_is_read_is_a_copy() -> None:
    store, use = SessionStateStore(), StateUse(KeptState())
    with Serving(None, {}, use=use):
        given: dict[str, Any] = {"value": [1]}
        await store.put("a session:list", given)
        given["value"].append(2)
        found = await store.get("a session:list")
        assert found == {"value": [1]}
        found["value"].append(3)
        assert await store.get("a session:list") == {"value": [1]}


async def test_what_is_set_where_there_is_no_call_is_found_in_calls_until_one_sets_it() -> None:
    store, use = SessionStateStore(), StateUse(KeptState())
    await store.put("a session:greeting", {"value": "hello"})
    with Serving(None, {}, use=use):
        assert await store.get("a session:greeting") == {"value": "hello"}
        await store.put("a session:greeting", {"value": "good day"})
        assert await store.get("a session:greeting") == {"value": "good day"}
        assert await store.delete("a session:greeting")
        assert await store.get("a session:greeting") is None


async def test_what_is_in_memory_is_bounded_and_what_was_not_used_for_long_goes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fastmcp_state, "_MOST_LASTING", 3)
    store = SessionStateStore()
    for n in range(3):
        await store.put(f"user:{n}", {"n": n})
    assert await store.get("user:0") == {"n": 0}
    assert not caplog.records
    await store.put("session:3", {"n": 3})
    assert [await store.get(f"user:{n}") for n in range(3)] == [{"n": 0}, None, {"n": 2}]
    assert "session_state_store" in caplog.text


async def test_what_is_set_on_a_stream_is_there_as_long_as_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of FastMCP's tools over HTTP+SSE, whose sessions may be many."""
    monkeypatch.setattr(fastmcp_state, "_MOST_FLEETING", 3)
    server = FastMCP("streams")

    @server.tool
    async def count(ctx: Context) -> str:
        value = (await ctx.get_state("count") or 0) + 1
        await ctx.set_state("count", value)
        return str(value)

    keep_state_of(server)
    app = server.http_app(path="/sse", transport="sse")
    async with (
        running_nodes(lambda: app, 1, mcp_path="/sse,/messages") as [node],
        contextlib.AsyncExitStack() as stack,
    ):
        streams = [SSETransport(f"{node.url}/sse") for _ in range(5)]
        clients = [await stack.enter_async_context(Client(stream)) for stream in streams]
        for n in (1, 2):
            assert [(await client.call_tool("count", {})).data for client in clients] == [str(n)] * 5


async def test_what_single_requests_leave_behind_pushes_no_users_state_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastMCP gives each request of revision 2026-07-28 a session of its own, for which a tool may set state."""
    monkeypatch.setattr(fastmcp_state, "_MOST_FLEETING", 3)
    store = SessionStateStore()
    await store.put("user:ann:_user", {"n": 1})
    await store.put("session:ann:one", {"n": 2})
    for n in range(10):
        await store.put(f"request-{n}:count", {"n": n}, ttl=86_400)
    assert await store.get("user:ann:_user") == {"n": 1}
    assert await store.get("session:ann:one") == {"n": 2}
    assert [await store.get(f"request-{n}:count") for n in (6, 9)] == [None, {"n": 9}]


async def test_what_is_kept_of_many_users_takes_no_time_with_each_call() -> None:
    clock = Clock(1_000.0)
    store = SessionStateStore(now=clock)
    began = time.process_time()
    for number in range(20_000):
        await store.put(f"user:{number}:x", {"value": number}, ttl=86_400)
    assert time.process_time() - began < 3
    clock.now += 90_000
    await store.put("user:new:x", {"value": 1}, ttl=86_400)
    assert list(store._lasting) == ["user:new:x"]
