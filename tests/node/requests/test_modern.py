"""Calls of the modern era over three nodes with real SDKs: each reaches the node that holds what its handle names."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import random
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import aiohttp
import fastmcp
import pytest
from mcp.client import Client
from mcp.client.subscriptions import listen
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, Field

import mooring
from mooring import ClosedHandle, ClosedSession
from mooring.core.handle_search import MOST_HANDLES
from mooring.core.handles import Handles
from mooring.core.model import ShardOwner
from mooring.errors import StoreUnavailable
from mooring.node.requests.cut_off_call import CutOffCall
from mooring.node.requests.plain_call import PlainCalls
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_nodes
from tests.core.views import a_node
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer
from tests.node.rpc import RawClient, Reply
from tests.servers.browsers import Browsers, app_of, minting_server
from tests.waiting import until

SERVERS = [MCPServer, fastmcp.FastMCP]


class Minting:
    """Three nodes, each with a server that mints."""

    def __init__(self, make_server: Any = MCPServer) -> None:
        self.browsers: list[Browsers] = []
        self._make_server = make_server

    def __call__(self) -> Any:
        self.browsers.append(Browsers())
        return app_of(minting_server(self._make_server, self.browsers[-1]))


def text_of(result: Any) -> str:
    return "".join(getattr(part, "text", "") for part in result.content)


async def call(url: str, tool: str, /, **arguments: Any) -> Any:
    async with Client(f"{url}/mcp") as client:
        return await client.call_tool(tool, arguments)


@pytest.mark.parametrize("make_server", SERVERS)
async def test_each_call_reaches_the_process_that_holds_its_handle(make_server: Any) -> None:
    minting = Minting(make_server)
    async with running_nodes(minting) as nodes:
        handles = [text_of(await call(random.choice(nodes).url, "open_browser")) for _ in range(6)]
        for turn in range(1, 4):
            for handle in handles:
                result = await call(random.choice(nodes).url, "visit", browser=handle, url=f"p{turn}")
                assert not result.is_error, text_of(result)
                assert text_of(result) == f"page {turn} of {handle}"
    held = [browsers.pages for browsers in minting.browsers]
    assert {handle for pages in held for handle in pages} == set(handles)
    assert all(pages == ["p1", "p2", "p3"] for one in held for pages in one.values())


@pytest.mark.parametrize("make_server", SERVERS)
async def test_so_it_does_at_an_endpoint_that_no_setting_names(make_server: Any) -> None:
    held: list[Browsers] = []

    def make_app() -> Any:
        held.append(Browsers())
        server = minting_server(make_server, held[-1])
        if make_server is MCPServer:
            return server.streamable_http_app(streamable_http_path="/tools/mcp")
        return server.http_app(path="/tools/mcp")

    async with running_nodes(make_app) as nodes:
        handles = []
        for node in nodes:
            async with Client(f"{node.url}/tools/mcp") as client:
                handles.append(text_of(await client.call_tool("open_browser", {})))
        for node in nodes:
            for handle in handles:
                async with Client(f"{node.url}/tools/mcp") as client:
                    result = await client.call_tool("visit", {"browser": handle, "url": "p"})
                    assert text_of(result).endswith(f" of {handle}"), text_of(result)
                    assert text_of(result).startswith("page ")
    assert sorted(len(pages) for browsers in held for pages in browsers.pages.values()) == [3, 3, 3]


MODERN = {
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
SECRET_OF_OTHERS = Handles("the secret of quite another cluster")


def visit(handle: str, page: str = "p", **more: Any) -> dict[str, Any]:
    arguments = {"browser": handle, "url": page, **more}
    return {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": "visit", "arguments": arguments, "_meta": META},
    }


async def post(
    raw: RawClient, node: RunningNode, body: Any, *, tool: str = "visit", headers: list[tuple[str, str]] | None = None
) -> Reply:
    given = [*MODERN.items(), ("mcp-name", tool), *(headers or [])]
    return await raw.send("POST", f"{node.url}/mcp", body=body, headers=given)


def refusal_in(reply: Reply) -> str:
    """Why a tool call was refused, as a program reads it."""
    assert reply.status == 200, reply.body
    result = reply.json["result"]
    assert result["isError"]
    return str(result["_meta"]["mooring/reason"])


@pytest.fixture
def minting() -> Minting:
    return Minting()


@pytest.fixture(params=["at sight", "decided"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handle that is here and everybody's is told at sight. As all others are served, so are those."""
    if request.param == "decided":
        monkeypatch.setattr(PlainCalls, "may_be_one", lambda *_: False)


both_ways = pytest.mark.usefixtures("way")


async def opened_on(node: RunningNode) -> str:
    return text_of(await call(node.url, "open_browser"))


async def test_a_forged_handle_is_a_tool_error_and_nothing_asks_the_store(raw: RawClient, minting: Minting) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(minting, 2, store, heartbeat_seconds=30.0, lease_seconds=60.0) as nodes:
        store.calls.clear()
        shard = next(iter(nodes[1].mooring._node.membership.shards))
        real = await opened_on(nodes[1])
        for forged in (
            SECRET_OF_OTHERS.mint(shard, "browser", bytes(16)),
            real[:-1] + ("A" if real[-1] != "A" else "B"),
            real + "x",
            real[:-4],
            f"mh~{shard}.",
        ):
            reply = await post(raw, nodes[0], visit(forged))
            assert refusal_in(reply) == "unknown_handle"
            assert forged in reply.json["result"]["content"][0]["text"]
            assert reply.json["id"] == 7
        assert store.calls == []
    assert all(not browsers.ledger for browsers in minting.browsers)


async def test_another_method_than_a_tools_hears_an_error_with_its_reason(raw: RawClient, minting: Minting) -> None:
    body = {**visit(SECRET_OF_OTHERS.mint("abcde", "browser", bytes(16))), "method": "prompts/get"}
    async with running_nodes(minting, 1) as [node]:
        reply = await raw.send("POST", f"{node.url}/mcp", body=body, headers={**MODERN, "mcp-method": "prompts/get"})
    assert reply.status == 400
    assert reply.json["error"]["code"] == -32602
    assert reply.reason == "unknown_handle"


async def test_a_handle_that_was_ended_is_gone_everywhere_and_its_handlers_hear_of_it_once(
    raw: RawClient, minting: Minting
) -> None:
    closed: list[ClosedSession] = []
    async with running_nodes(minting) as nodes:
        nodes[0].mooring.on_close(closed.append)
        handle = await opened_on(nodes[0])
        await call(nodes[2].url, "close_browser", browser=handle)
        for node in nodes:
            reply = await post(raw, node, visit(handle))
            assert refusal_in(reply) == "handle_gone"
            assert handle in reply.json["result"]["content"][0]["text"]
    assert [(one.id, one.reason) for one in closed] == [(handle, "deleted")]
    assert isinstance(closed[0], ClosedHandle)
    assert closed[0].kind == "browser"


@both_ways
async def test_a_handle_that_nobody_uses_ends(minting: Minting, raw: RawClient) -> None:
    closed: list[ClosedSession] = []
    async with running_nodes(minting, 1, handle_idle_seconds=0.2) as [node]:
        node.mooring.on_close(closed.append)
        handle = await opened_on(node)

        async def has_ended() -> bool:
            return [(one.id, one.reason) for one in closed] == [(handle, "ended")]

        await until(has_ended, what="its end")
        assert refusal_in(await post(raw, node, visit(handle))) == "handle_gone"


@pytest.mark.parametrize("says_so", [True, False])
async def test_an_app_that_fails_over_an_empty_body_keeps_nobody_from_hearing_that(
    raw: RawClient, says_so: bool
) -> None:
    """It is asked with one who sends the call, and has named that one by then."""
    app = ScriptedApp()

    async def gate(_: Any, body: bytes, send: Any) -> None:
        if not body:
            if says_so:
                await answer(send, 500, b"Internal Server Error")
            raise ValueError("an empty body is no JSON")
        handle = mooring.new_handle("browser")
        mooring.end(handle)
        result = {"content": [{"type": "text", "text": handle}]}
        await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())

    app.gate = gate
    async with running_nodes(lambda: with_users(app), 1) as [node]:
        alice = [("x-user", "alice")]
        gone = (await post(raw, node, visit("open"), headers=alice)).json["result"]["content"][0]["text"]
        assert refusal_in(await post(raw, node, visit(gone), headers=alice)) == "handle_gone"


async def test_a_handle_of_a_dead_node_is_said_to_be_gone(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(minting) as nodes:
        handle = await opened_on(nodes[0])
        await nodes[0].vanish()
        replies = [await post(raw, node, visit(handle)) for node in nodes[1:]]
        assert [refusal_in(reply) for reply in replies] == ["handle_gone"] * 2
        assert handle in replies[0].json["result"]["content"][0]["text"]
    assert all(not browsers.ledger for browsers in minting.browsers)


@both_ways
async def test_a_call_that_runs_when_its_node_dies_has_an_outcome(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(minting, 2) as nodes:
        handle = await opened_on(nodes[0])
        body = visit(handle)
        body["params"]["name"] = "visit_slowly"
        asking = asyncio.create_task(post(raw, nodes[1], body, tool="visit_slowly"))

        async def runs() -> bool:
            return (handle, "begins") in minting.browsers[0].ledger

        await until(runs, what="the call to arrive")
        await nodes[0].vanish()
        reply = await asking
    assert refusal_in(reply) == "outcome_unknown"


@pytest.mark.parametrize("fails", [False, True], ids=["cancelled", "failing"])
@both_ways
async def test_a_call_whose_handle_another_node_has_by_now_is_cut_off(
    raw: RawClient, minting: Minting, fails: bool
) -> None:
    """Its node was silent for longer than its lease, and hears of that once it goes on.

    Args:
        fails: what is around the app makes an error of its own of the cancellation.
    """
    store = MemoryStore()

    def make_app() -> Any:
        app = minting()

        async def failing(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            except asyncio.CancelledError:
                raise RuntimeError("it was cancelled") from None

        return failing if fails else app

    async with running_nodes(make_app, 1, store) as [node]:
        handle = await opened_on(node)
        body = visit(handle)
        body["params"]["name"] = "visit_slowly"
        asking = asyncio.create_task(post(raw, node, body, tool="visit_slowly"))
        ledger = minting.browsers[0].ledger

        async def runs() -> bool:
            return (handle, "begins") in ledger

        await until(runs, what="the call to run")
        found = node.mooring._node.handles.read(handle)
        assert found is not None
        await store.register(a_node("node-2-aaaaa"), 600)
        await store.claim(found.shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
        reply = await asking
        assert refusal_in(reply) == "outcome_unknown"
        assert (handle, "cancelled") in ledger


@both_ways
async def test_so_is_one_of_an_app_that_fails_where_it_is_cancelled(raw: RawClient) -> None:
    app, begun = ScriptedApp(), asyncio.Event()

    async def gate(_: Any, body: bytes, send: Any) -> None:
        if b'"open"' in body:
            result = {"content": [{"type": "text", "text": mooring.new_handle("browser")}]}
            await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())
            return
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("no response was returned") from None

    app.gate = gate
    store = MemoryStore()
    async with running_nodes(lambda: app, 1, store) as [node]:
        handle = (await post(raw, node, visit("open"))).json["result"]["content"][0]["text"]
        asking = asyncio.create_task(post(raw, node, visit(handle)))
        await begun.wait()
        found = node.mooring._node.handles.read(handle)
        assert found is not None
        await store.register(a_node("node-2-aaaaa"), 600)
        await store.claim(found.shard, ShardOwner("node-2-aaaaa", 2), expected_epoch=1)
        assert refusal_in(await asking) == "outcome_unknown"


@both_ways
async def test_an_answer_with_a_handle_waits_until_its_node_knows_that_it_may(
    raw: RawClient, minting: Minting, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(minting, 1, store) as [node]:
        handle = await opened_on(node)
        keeper = node.mooring._node.keeper
        waited: list[bool] = []

        async def regain_in_time() -> bool:
            waited.append(True)
            return True

        serve = CutOffCall.serve

        async def pause_and_serve(*args: Any) -> Any:
            monkeypatch.setattr(type(keeper), "has_lapsed", property(lambda _: True))
            return await serve(*args)

        monkeypatch.setattr(CutOffCall, "serve", pause_and_serve)
        monkeypatch.setattr(keeper, "regain_in_time", regain_in_time)
        assert (await post(raw, node, visit(handle))).json["result"]
        assert waited


async def test_the_app_hears_that_a_client_left_whose_call_was_passed_on(minting: Minting) -> None:
    async with running_nodes(minting, 2) as nodes:
        handle = await opened_on(nodes[0])
        body = visit(handle)
        body["params"]["name"] = "visit_slowly"
        async with aiohttp.ClientSession() as http:
            asking = asyncio.create_task(
                http.post(f"{nodes[1].url}/mcp", json=body, headers={**MODERN, "mcp-name": "visit_slowly"})
            )

            async def runs() -> bool:
                return (handle, "begins") in minting.browsers[0].ledger

            await until(runs, what="the call to run")
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

            async def is_cancelled() -> bool:
                return (handle, "cancelled") in minting.browsers[0].ledger

            await until(is_cancelled, what="its cancellation")


@pytest.mark.parametrize("mixed", ["first", "refuse"])
async def test_handles_of_two_nodes_in_one_call(
    raw: RawClient, minting: Minting, mixed: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes(minting, mixed_handles=mixed) as nodes:
        first, second = [await opened_on(node) for node in nodes[:2]]
        reply = await post(raw, nodes[2], visit(first, other=second))
        assert "mixed_handles" in caplog.text
        if mixed == "refuse":
            assert refusal_in(reply) == "mixed_handles"
            assert minting.browsers[0].ledger == []
        else:
            assert reply.json["result"]["content"][0]["text"] == f"page 1 of {first}"
            # The load balancer has seen the header alone.
            body = visit(first)
            body["params"]["arguments"] = {"other": second, **body["params"]["arguments"]}
            reply = await post(raw, nodes[2], body, headers=[("mcp-param-browser", first)])
            assert reply.json["result"]["content"][0]["text"] == f"page 2 of {first}"


async def test_a_handle_is_found_in_the_arguments_and_their_headers_and_nowhere_else(
    raw: RawClient, minting: Minting
) -> None:
    async with running_nodes(minting, 2) as nodes:
        handle = await opened_on(nodes[0])
        tally = nodes[1].mooring._node.tally

        async def is_passed_on(body: Any, headers: list[tuple[str, str]] | None = None) -> bool:
            before = tally.forwarded_out
            await post(raw, nodes[1], body, headers=headers)
            return tally.forwarded_out > before

        elsewhere = visit("none")
        elsewhere["params"]["_meta"] = {**META, "example.org/note": handle}
        elsewhere["params"]["note"] = handle
        elsewhere["note"] = {"params": {"arguments": {"browser": handle}}}
        assert not await is_passed_on(elsewhere)
        assert not await is_passed_on(visit("none"), [("x-handle", handle)])
        assert not await is_passed_on(visit(f"a text about {handle}"))
        assert not await is_passed_on(visit("none", **{handle: "a name"}))
        assert await is_passed_on(visit("none", other=handle))
        assert await is_passed_on(visit("none"), [("mcp-param-browser", handle)])
        written = f"=?base64?{base64.b64encode(handle.encode()).decode()}?="
        assert await is_passed_on(visit("none"), [("mcp-param-browser", written)])


async def test_a_body_in_pieces_is_searched_as_a_whole(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(minting, 2) as nodes:
        handle = await opened_on(nodes[0])
        data = json.dumps(visit(handle)).encode()
        cut = data.index(b"mh~") + 2

        async def pieces() -> AsyncIterator[bytes]:
            yield data[:cut]
            await asyncio.sleep(0.05)
            for at in range(cut, len(data), 20):
                yield data[at : at + 20]

        reply = await post(raw, nodes[1], pieces())
        assert reply.json["result"]["content"][0]["text"] == f"page 1 of {handle}"


async def test_a_larger_body_is_not_searched_and_the_log_says_so_once(
    raw: RawClient, minting: Minting, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes(minting, 2, handle_search_bytes=4096) as nodes:
        handle = await opened_on(nodes[0])
        for _ in range(2):
            reply = await post(raw, nodes[1], visit(handle, page="x" * 5000))
            assert "no browser" in reply.json["result"]["content"][0]["text"]
        assert caplog.text.count("handle_search_bytes") == 1
        assert minting.browsers[1].ledger[0] == (handle, "x" * 5000)


async def test_a_larger_call_is_refused_by_its_own_id(raw: RawClient, minting: Minting) -> None:
    """Nothing of it was read but a header: its client waits for an answer to this very call."""
    forged = SECRET_OF_OTHERS.mint("abcde", "browser", b"0" * 16, "", survives=False)
    async with running_nodes(minting, 2, handle_search_bytes=4096) as nodes:
        for size in (5_000, 200_000):
            headers = [("mcp-param-browser", forged)]
            reply = await post(raw, nodes[1], visit("none", page="x" * size), headers=headers)
            assert refusal_in(reply) == "unknown_handle"
            assert reply.json["id"] == 7
            last = {"method": "tools/call", "params": {"text": "x" * size}, "jsonrpc": "2.0", "id": "last"}
            assert (await post(raw, nodes[1], last, headers=headers)).json["id"] == "last"


class Someone:
    is_authenticated = True

    def __init__(self, name: str) -> None:
        self.display_name = name


def with_users(app: Any) -> Any:
    """Around an app: whoever names himself in a header is believed."""

    async def authenticated(scope: Any, receive: Any, send: Any) -> None:
        name = next((value for key, value in scope.get("headers", []) if key == b"x-user"), None)
        if name is not None:
            scope["user"] = Someone(name.decode())
        await app(scope, receive, send)

    return authenticated


async def test_a_handle_of_another_principal_looks_like_one_that_never_was(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(lambda: with_users(minting())) as nodes:
        alice, mallory = [("x-user", "alice")], [("x-user", "mallory")]
        body = visit("")
        body["params"] |= {"name": "open_browser", "arguments": {}}
        reply = await post(raw, nodes[0], body, tool="open_browser", headers=alice)
        handle = reply.json["result"]["content"][0]["text"]
        forged = SECRET_OF_OTHERS.mint(handle[3:8], "browser", bytes(16))
        spelled = json.dumps(visit(handle)).replace("mh~", r"\u006d\u0068\u007e").encode()
        twice = json.dumps(visit("X")).replace('"X"', f'"{handle}", "browser": "{handle}"', 1)
        doubled = twice.replace(f'"{handle}", "browser"', f'"none", "browser": "{handle}", "browser"').encode()
        for node in nodes:
            never_was = await post(raw, node, visit(forged), headers=mallory)
            for headers in (mallory, []):
                others = await post(raw, node, visit(handle), headers=headers)
                assert others.body.replace(handle.encode(), b"H") == never_was.body.replace(forged.encode(), b"H")
                assert others.headers.keys() == never_was.headers.keys()
            for sneaky in (spelled, doubled, json.dumps(visit(handle)).encode("utf-16")):
                await post(raw, node, sneaky, headers=mallory)
        assert minting.browsers[0].ledger == []
        for node in nodes:
            assert not (await post(raw, node, visit(handle), headers=alice)).json["result"].get("isError")
        await nodes[0].vanish()
        assert refusal_in(await post(raw, nodes[1], visit(handle), headers=mallory)) == "unknown_handle"
        assert refusal_in(await post(raw, nodes[1], visit(handle), headers=alice)) == "handle_gone"


async def test_a_handle_that_survives_is_here_again_once_its_own_principal_asks(
    raw: RawClient, minting: Minting
) -> None:
    async with running_nodes(lambda: with_users(minting())) as nodes:
        alice, mallory = [("x-user", "alice")], [("x-user", "mallory")]
        body = visit("")
        body["params"] |= {"name": "open_browser", "arguments": {"survives": True}}
        reply = await post(raw, nodes[0], body, tool="open_browser", headers=alice)
        handle = reply.json["result"]["content"][0]["text"]
        held = nodes[0].mooring._node.sessions.handles.find(handle)
        assert held is not None
        await nodes[0].vanish()
        for headers in (mallory, []):
            assert refusal_in(await post(raw, nodes[1], visit(handle), headers=headers)) == "unknown_handle"
        assert [node.mooring._node.sessions.handles.find(handle) for node in nodes[1:]] == [None, None]
        assert all(browsers.ledger == [] for browsers in minting.browsers)
        for _ in range(2):
            reply = await post(raw, nodes[1], visit(handle), headers=alice)
            assert reply.json["result"]["content"][0]["text"] == f"no browser {handle}"  # which is its author's to say
            assert refusal_in(await post(raw, nodes[2], visit(handle), headers=mallory)) == "unknown_handle"
        again = [node.mooring._node.sessions.handles.find(handle) for node in nodes[1:]]
        assert [local.principal for local in again if local is not None] == [held.principal]
        assert held.principal


async def test_a_handle_that_survives_waits_for_a_store_that_is_away_for_a_moment(
    raw: RawClient, minting: Minting
) -> None:
    store = FlakyStore(MemoryStore())
    async with running_nodes(minting, 2, store) as nodes:
        body = visit("")
        body["params"] |= {"name": "open_browser", "arguments": {"survives": True}}
        reply = await post(raw, nodes[0], body, tool="open_browser")
        handle = reply.json["result"]["content"][0]["text"]
        await nodes[0].vanish()
        shard = nodes[0].mooring._node.handles.read(handle).shard  # type: ignore[union-attr]
        await store.inner.retire(shard, (await store.inner.snapshot()).shards[shard])
        await nodes[1].mooring._node.keeper.look()

        async def is_away() -> None:
            raise StoreUnavailable("away for one call")

        store.before["claim"] = is_away
        reply = await post(raw, nodes[1], visit(handle))
        assert reply.json["result"]["content"][0]["text"] == f"no browser {handle}"  # which is its author's to say
        assert "claim" not in store.before


async def test_a_header_twice_cannot_show_one_handle_and_use_another(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(lambda: with_users(minting())) as [node, *_]:
        alice, mallory = [("x-user", "alice")], [("x-user", "mallory")]
        body = visit("")
        body["params"] |= {"name": "open_browser", "arguments": {}}
        handles = [
            (await post(raw, node, body, tool="open_browser", headers=who)).json["result"]["content"][0]["text"]
            for who in (alice, mallory)
        ]
        headers = [*mallory, ("mcp-param-browser", handles[1]), ("mcp-param-browser", handles[0])]
        assert refusal_in(await post(raw, node, visit(handles[1]), headers=headers)) == "unknown_handle"
        headers = [*mallory, ("mcp-param-browser", handles[1])]
        assert refusal_in(await post(raw, node, visit(handles[0]), headers=headers)) == "unknown_handle"


@both_ways
async def test_a_node_that_drains_lets_a_call_with_a_handle_end_and_says_then_that_it_is_gone(
    raw: RawClient, minting: Minting
) -> None:
    closed: list[ClosedSession] = []
    async with running_nodes(minting, 2, ingress_seconds=0, drain_seconds=10) as nodes:
        nodes[0].mooring.on_close(closed.append)
        handle = await opened_on(nodes[0])
        slow = {**visit(handle), "params": {**visit(handle)["params"], "name": "visit_slowly"}}
        running = asyncio.create_task(post(raw, nodes[1], slow, tool="visit_slowly"))
        ledger = minting.browsers[0].ledger
        await until(lambda: asyncio.sleep(0, ledger == [(handle, "begins")]), what="the call to begin")
        draining = asyncio.create_task(nodes[0].mooring.drain())
        shards = nodes[0].mooring._node.membership.shards
        await until(lambda: asyncio.sleep(0, len(shards) == 1), what="all other shards to be given")
        assert nodes[0].mooring._node.sessions.handles.find(handle) is not None
        minting.browsers[0].finish.set()
        assert (await running).json["result"]["content"][0]["text"] == f"page 1 of {handle}"
        await draining
        for node in nodes:
            assert refusal_in(await post(raw, node, visit(handle))) == "handle_gone"
        await nodes[0].mooring._node.sessions.settle()
    assert [(one.id, one.reason) for one in closed] == [(handle, "moved")]
    assert ledger == [(handle, "begins"), (handle, "p")]


async def test_a_node_that_drains_ends_streams_of_changes_cleanly(minting: Minting) -> None:
    async with running_nodes(minting, 2, ingress_seconds=0.05, drain_seconds=5) as nodes:
        async with Client(f"{nodes[0].url}/mcp") as client, listen(client.session, tools_list_changed=True) as stream:
            assert nodes[0].mooring._node.open_calls.subscriptions == 1
            await nodes[0].mooring.drain()
            async with asyncio.timeout(5):
                assert [event async for event in stream] == []  # one that is lost raises
        assert nodes[0].mooring._node.open_calls.subscriptions == 0
        async with Client(f"{nodes[1].url}/mcp") as client, listen(client.session, tools_list_changed=True):
            assert nodes[1].mooring._node.open_calls.subscriptions == 1


@pytest.mark.parametrize("survives", [False, True])
async def test_so_it_does_with_one_of_a_handles_resource_and_does_not_wait_for_its_end(
    raw: RawClient, minting: Minting, survives: bool
) -> None:
    async with running_nodes(minting, 2, ingress_seconds=0.05, drain_seconds=60) as nodes:
        body = visit("") | {"params": {"name": "open_browser", "arguments": {"survives": survives}, "_meta": META}}
        handle = (await post(raw, nodes[0], body, tool="open_browser")).json["result"]["content"][0]["text"]
        uri, local = f"browser://{handle}/page", nodes[0].mooring._node.sessions.handles.find(handle)
        assert local is not None
        client = Client(f"{nodes[1].url}/mcp")
        async with client, listen(client.session, resource_subscriptions=[uri]) as stream:
            assert (local.heard_by, local.in_use) == (1, 0)
            async with asyncio.timeout(20):
                await nodes[0].mooring.drain()
                assert [event async for event in stream] == []  # one that is lost, or cut off, raises
        assert local.heard_by == 0


async def test_whoever_listens_hears_of_others_where_one_is_gone_with_a_node_that_nobody_knows_to_be_dead_yet(
    minting: Minting,
) -> None:
    async with running_nodes(minting) as nodes:
        gone = [await opened_on(nodes[0]) for _ in range(2)]
        uris = [f"browser://{handle}/page" for handle in (*gone, await opened_on(nodes[1]))]
        await nodes[0].vanish()
        assert nodes[2].mooring._node.membership.view.is_alive(nodes[0].id)
        client = Client(f"{nodes[2].url}/mcp")
        async with client, listen(client.session, resource_subscriptions=uris) as stream:
            assert stream.honored.resource_subscriptions == uris
            assert nodes[1].mooring._node.open_calls.subscriptions == 1


async def test_a_stream_of_changes_is_asked_for_as_it_is_so_that_it_can_be_ended(raw: RawClient) -> None:
    begun: list[bool] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        """Compresses for whoever lets it, event streams too, as some middleware does."""
        if scope["type"] != "http":
            await ScriptedApp()(scope, receive, send)
            return
        is_zipped = b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b"")
        encoding = [(b"content-encoding", b"gzip")] if is_zipped else []
        headers = [(b"content-type", b"text/event-stream"), *encoding]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        event = b": begun\n\n"
        await send(
            {"type": "http.response.body", "body": gzip.compress(event) if is_zipped else event, "more_body": True}
        )
        begun.append(True)
        while (await receive())["type"] != "http.disconnect":
            pass

    async with running_nodes(lambda: listening, 1, ingress_seconds=0.05, drain_seconds=2) as [node]:
        body = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": {"notifications": {}}}
        headers = {**MODERN, "mcp-method": "subscriptions/listen", "accept-encoding": "gzip"}
        listens = asyncio.create_task(raw.send("POST", f"{node.url}/mcp", body=body, headers=headers))
        await until(lambda: asyncio.sleep(0, bool(begun)), what="the stream to begin")
        await node.mooring.drain()
        reply = await asyncio.wait_for(listens, 10)
        assert reply.json["result"]["resultType"] == "complete"


async def test_a_node_that_drains_ends_no_sooner_than_a_call_without_a_handle(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(minting, 2, ingress_seconds=0, drain_seconds=10) as nodes:
        slow = visit("none")
        slow["params"]["name"] = "visit_slowly"
        running = asyncio.create_task(post(raw, nodes[0], slow, tool="visit_slowly"))
        ledger = minting.browsers[0].ledger
        await until(lambda: asyncio.sleep(0, ledger == [("none", "begins")]), what="the call to begin")
        draining = asyncio.create_task(nodes[0].mooring.drain())
        await until(
            lambda: asyncio.sleep(0, not nodes[0].mooring._node.membership.shards), what="all shards to be given"
        )
        assert not draining.done()
        minting.browsers[0].finish.set()
        assert (await running).json["result"]["content"][0]["text"] == "no browser none"
        await draining


@both_ways
async def test_a_call_that_outlasts_the_drain_is_said_to_be_cut_off(
    raw: RawClient, minting: Minting, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes(minting, 2, ingress_seconds=0, drain_seconds=0.3) as nodes:
        slow = visit("none")
        slow["params"]["name"] = "visit_slowly"
        running = asyncio.create_task(post(raw, nodes[0], slow, tool="visit_slowly"))
        ledger = minting.browsers[0].ledger
        await until(lambda: asyncio.sleep(0, ledger == [("none", "begins")]), what="the call to begin")
        await nodes[0].mooring.drain()
        assert "1 calls of the modern era are cut off (drain_seconds)" in caplog.text
        minting.browsers[0].finish.set()
        await running


async def opened_by(raw: RawClient, node: RunningNode, name: str, **arguments: Any) -> str:
    """A handle of this principal."""
    body = visit("")
    body["params"] |= {"name": "open_browser", "arguments": arguments}
    reply = await post(raw, node, body, tool="open_browser", headers=[("x-user", name)])
    return str(reply.json["result"]["content"][0]["text"])


async def test_anothers_handle_that_survives_is_guarded_behind_ones_own_as_well(
    raw: RawClient, minting: Minting
) -> None:
    async with running_nodes(lambda: with_users(minting()), 2) as nodes:
        handle = await opened_by(raw, nodes[0], "alice", survives=True)
        own = await opened_by(raw, nodes[1], "mallory")
        body = visit(handle)
        body["params"]["arguments"] = {"other": own, **body["params"]["arguments"]}
        reply = await post(raw, nodes[1], body, headers=[("x-user", "mallory")])
        assert minting.browsers[1].ledger == []
        assert refusal_in(reply) == "unknown_handle"


async def test_anothers_handle_is_guarded_behind_any_number_of_others(
    raw: RawClient, minting: Minting, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_nodes(lambda: with_users(minting()), 1) as [node]:
        handle = await opened_by(raw, node, "alice")
        own = await opened_by(raw, node, "mallory")
        many = [node.mooring._node.handles.mint(own[3:8], "browser", bytes([n] * 16)) for n in range(MOST_HANDLES)]
        for others, reason in (([own] * MOST_HANDLES, "unknown_handle"), (many, "mixed_handles")):
            body = visit(handle)
            body["params"]["arguments"] = {"many": others, **body["params"]["arguments"]}
            reply = await post(raw, node, body, headers=[("x-user", "mallory")])
            assert minting.browsers[0].ledger == []
            assert refusal_in(reply) == reason
        assert f"more than {MOST_HANDLES} handles" in caplog.text


async def test_a_handle_in_an_answer_or_a_uri_leads_to_its_node_and_is_guarded(raw: RawClient) -> None:
    apps: list[ScriptedApp] = []

    async def gate(_: Any, body: bytes, send: Any) -> None:
        asked = json.loads(body)["params"]
        handle = mooring.new_handle("browser") if asked.get("name") == "open" else ""
        result = {"content": [{"type": "text", "text": handle}]}
        await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())

    def make_app() -> Any:
        apps.append(ScriptedApp())
        apps[-1].gate = gate
        return with_users(apps[-1])

    async with running_nodes(make_app, 2) as nodes:
        body = visit("x")
        body["params"]["name"] = "open"
        reply = await post(raw, nodes[0], body, tool="open", headers=[("x-user", "alice")])
        handle = reply.json["result"]["content"][0]["text"]
        answers = {"which": {"action": "accept", "content": {"browser": handle}}}
        for params in ({"name": "visit", "inputResponses": answers}, {"uri": f"browser://{handle}/page"}):
            method = "resources/read" if "uri" in params else "tools/call"
            body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": META}}
            for who, reached in (("mallory", 0), ("alice", 1)):
                before = len(apps[0].asked)
                headers = {**MODERN, "mcp-method": method, "x-user": who}
                reply = await raw.send("POST", f"{nodes[1].url}/mcp", body=body, headers=headers)
                assert ("unknown_handle" in reply.body.decode()) == (who == "mallory")
                assert len(apps[0].asked) == before + reached
    assert not apps[1].asked


async def test_anothers_handle_is_guarded_behind_any_number_that_nobody_hears_of(raw: RawClient) -> None:
    app = ScriptedApp()

    async def gate(_: Any, body: bytes, send: Any) -> None:
        result = {"content": [{"type": "text", "text": mooring.new_handle("browser")}]}
        await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())

    app.gate = gate
    async with running_nodes(lambda: with_users(app), 1) as [node]:
        opened = await post(raw, node, visit("open"), headers=[("x-user", "alice")])
        handle = opened.json["result"]["content"][0]["text"]
        others = [
            SECRET_OF_OTHERS.mint(handle[3:8], "browser", bytes([n, *bytes(15)])) for n in range(MOST_HANDLES + 1)
        ]
        uris = {"resourceSubscriptions": [f"browser://{one}/page" for one in [*others, handle]]}
        params = {"notifications": uris, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}
        headers = {**MODERN, "mcp-method": "subscriptions/listen", "x-user": "mallory"}
        reply = await raw.send("POST", f"{node.url}/mcp", body=body, headers=headers)
        assert len(app.asked) == 1
        assert reply.reason == "mixed_handles"


async def test_anothers_handle_is_guarded_where_nothing_is_heard_of_it(raw: RawClient) -> None:
    """Its author may keep elsewhere what it stands for, and finds it by the handle."""
    apps: list[ScriptedApp] = []

    async def gate(_: Any, body: bytes, send: Any) -> None:
        handle = mooring.new_handle("cart", survives=True)
        result = {"content": [{"type": "text", "text": handle}]}
        await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())

    def make_app() -> Any:
        apps.append(ScriptedApp())
        apps[-1].gate = gate
        return with_users(apps[-1])

    async with running_nodes(make_app, 2) as nodes:
        opened = await post(raw, nodes[0], visit("open"), headers=[("x-user", "alice")])
        handle = opened.json["result"]["content"][0]["text"]
        await nodes[0].vanish()
        uris = {"resourceSubscriptions": [f"cart://{handle}/items"]}
        params = {"notifications": uris, "_meta": META}
        body = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}

        async def is_known_to_be_dead() -> bool:
            return not nodes[1].mooring._node.membership.view.is_alive(nodes[0].id)

        await until(is_known_to_be_dead, what="the first node to be dead")
        for who, reached in (("mallory", 0), ("alice", 1)):
            headers = {**MODERN, "mcp-method": "subscriptions/listen", "x-user": who}
            reply = await raw.send("POST", f"{nodes[1].url}/mcp", body=body, headers=headers)
            assert len(apps[1].asked) == reached
            assert (b"unknown_handle" in reply.body) == (who == "mallory")


async def test_nobody_is_told_that_anothers_handle_is_one(raw: RawClient, minting: Minting) -> None:
    options: Any = {"mixed_handles": "refuse", "lease_seconds": 60.0, "hold_seconds": 1.0}
    async with running_nodes(lambda: with_users(minting()), 2, **options) as nodes:
        handle, own = [await opened_by(raw, node, who) for node, who in zip(nodes, ("alice", "mallory"), strict=True)]
        mixed = visit(own, other=handle)
        forged = SECRET_OF_OTHERS.mint(handle[3:8], "browser", bytes(16))
        never_was = await post(raw, nodes[1], visit(own, other=forged), headers=[("x-user", "mallory")])
        reply = await post(raw, nodes[1], mixed, headers=[("x-user", "mallory")])
        assert reply.body.replace(handle.encode(), b"H") == never_was.body.replace(forged.encode(), b"H")
        await nodes[0].vanish()
        for who, reason in (("mallory", "unknown_handle"), ("alice", "unreachable")):
            reply = await post(raw, nodes[1], visit(handle), headers=[("x-user", who)])
            assert refusal_in(reply) == reason


async def test_no_spelling_hides_anothers_handle_that_survives_where_none_of_anybody_is(
    raw: RawClient, minting: Minting
) -> None:
    async with running_nodes(lambda: with_users(minting()), 2) as nodes:
        handle = await opened_by(raw, nodes[0], "alice", survives=True)
        assert len(nodes[1].mooring._node.sessions.handles) == 0
        for spelled in (
            json.dumps(visit(handle)).replace("mh~", r"\u006d\u0068\u007e").encode(),
            json.dumps(visit(handle)).encode("utf-16"),
        ):
            await post(raw, nodes[1], spelled, headers=[("x-user", "mallory")])
            assert minting.browsers[1].ledger == []


async def test_anothers_handle_is_guarded_in_a_body_that_is_too_large_to_be_held(
    raw: RawClient, minting: Minting
) -> None:
    async with running_nodes(lambda: with_users(minting()), 1, handle_search_bytes=4096) as [node]:
        handle = await opened_by(raw, node, "alice")
        usual = json.dumps(visit(handle, page="x" * 5000))
        first = json.dumps({**visit(handle), "note": "x" * 100_000})
        bodies = [
            usual,
            first,
            usual.replace("mh~", r"\u006d\u0068\u007e"),
            usual.replace(handle[8:11], r"\u002Em\u002e"),
        ]
        for body in [*(body.encode() for body in bodies), usual.encode("utf-16"), usual.encode("utf-32")]:
            reply = await post(raw, node, body, headers=[("x-user", "mallory")])
            assert (reply.status, reply.reason) == (400, "unknown_handle")  # nobody has read what it asks
            assert minting.browsers[0].ledger == []
        reply = await post(raw, node, first.encode(), headers=[("x-user", "alice")])
        assert reply.json["result"]["content"][0]["text"] == f"page 1 of {handle}"
        reply = await post(raw, node, usual.encode(), headers=[("x-user", "mallory")])
        assert reply.json["id"] == 7  # which stands at its beginning
        about = json.dumps(visit("none", page=f"about {handle} " + "x" * 5000)).encode()
        reply = await post(raw, node, about, headers=[("x-user", "mallory")])
        assert reply.json["result"]["content"][0]["text"] == "no browser none"


async def test_anothers_handle_is_guarded_in_a_call_of_before_that_needs_no_session(raw: RawClient) -> None:
    browsers = Browsers()
    server = minting_server(MCPServer, browsers)

    def make_app() -> Any:
        return with_users(server.streamable_http_app(stateless_http=True))

    async with running_nodes(make_app, 1) as [node]:
        handle = await opened_by(raw, node, "alice")
        headers = {"mcp-protocol-version": "2025-11-25"}
        for body in (visit(handle), json.dumps(visit(handle)).replace("mh~", r"\u006d\u0068\u007e").encode()):
            reply = await raw.send("POST", f"{node.url}/mcp", body=body, headers={**headers, "x-user": "mallory"})
            assert browsers.ledger == []
            assert refusal_in(reply) == "unknown_handle"
        reply = await raw.send("POST", f"{node.url}/mcp", body=visit(handle), headers={**headers, "x-user": "alice"})
        assert reply.json["result"]["content"][0]["text"] == f"page 1 of {handle}"


@pytest.mark.parametrize("size", [0, 2 * 1024 * 1024])
async def test_anothers_handle_is_guarded_in_a_session_of_before(raw: RawClient, minting: Minting, size: int) -> None:
    async with running_nodes(lambda: with_users(minting()), 1) as [node]:
        handle = await opened_by(raw, node, "alice")
        sessions = {who: await raw.open(node.url, headers={"x-user": who}) for who in ("mallory", "alice")}

        async def visited(who: str, body: Any) -> Reply:
            headers = {"mcp-protocol-version": "2025-11-25", "x-user": who}
            return await raw.call(node.url, sessions[who], body=body, headers=headers)

        usual = visit(handle, page="x" * size)
        spelled = json.dumps(usual).replace("mh~", r"\u006d\u0068\u007e").encode()
        for body in (usual, spelled, [usual]):
            reply = await visited("mallory", body)
            assert minting.browsers[0].ledger == []
            assert size or body != usual or refusal_in(reply) == "unknown_handle"
        reply = await visited("alice", usual)
        assert reply.json["result"]["content"][0]["text"] == f"page 1 of {handle}"


def read(uri: str, size: int = 0) -> dict[str, Any]:
    meta = {**META, "note": "x" * size}
    return {"jsonrpc": "2.0", "id": 7, "method": "resources/read", "params": {"_meta": meta, "uri": uri}}


def visit_all(text: str, size: int = 0) -> dict[str, Any]:
    """As Claude Desktop does, which writes a list as a text."""
    return visit("", note="x" * size) | {
        "params": {"name": "visit_all", "arguments": {"note": "x" * size, "browser_list": text}, "_meta": META}
    }


@pytest.mark.parametrize("make_server", SERVERS)
@pytest.mark.parametrize("spell", [str, lambda handle: handle.replace("~", "%7E"), lambda handle: f"%6D{handle[1:]}"])
async def test_a_handle_in_a_uri_leads_to_its_node_and_is_guarded_however_it_is_spelled(
    raw: RawClient, make_server: Any, spell: Any
) -> None:
    minting = Minting(make_server)
    async with running_nodes(lambda: with_users(minting()), 2) as nodes:
        handle = await opened_by(raw, nodes[0], "alice")
        uri = f"browser://{spell(handle)}/page"
        headers = [*MODERN.items(), ("mcp-method", "resources/read"), ("mcp-name", uri)]
        for node in nodes:
            for size in (0, 2 * 1024 * 1024):  # of a body that is not searched, its header says it
                for who, said in (("mallory", "unknown_handle"), ("alice", f"of {handle}")):
                    given = {**dict(headers), "x-user": who}
                    reply = await raw.send("POST", f"{node.url}/mcp", body=read(uri, size), headers=given)
                    assert said in reply.body.decode()
    assert minting.browsers[0].ledger == [(handle, "page")] * 4
    assert minting.browsers[1].ledger == []


async def test_a_handle_in_a_list_that_is_written_as_a_text_leads_to_its_node_and_is_guarded(
    raw: RawClient, minting: Minting
) -> None:
    async with running_nodes(lambda: with_users(minting()), 2) as nodes:
        handle = await opened_by(raw, nodes[0], "alice")
        for text in (json.dumps([handle]), json.dumps([handle]).replace("~", r"\u007e")):
            for node in nodes:
                reply = await post(raw, node, visit_all(text), tool="visit_all", headers=[("x-user", "mallory")])
                assert refusal_in(reply) == "unknown_handle"
                reply = await post(raw, node, visit_all(text), tool="visit_all", headers=[("x-user", "alice")])
                assert f"of {handle}" in reply.body.decode()
    assert minting.browsers[0].ledger == [(handle, "all")] * 4


async def test_a_handle_that_names_a_member_leads_to_its_node_and_is_guarded(raw: RawClient, minting: Minting) -> None:
    async with running_nodes(lambda: with_users(minting()), 2) as nodes:
        handle = await opened_by(raw, nodes[0], "alice")
        body = visit("") | {"params": {"name": "visit_each", "arguments": {"pages": {handle: "p"}}, "_meta": META}}
        for node in nodes:
            reply = await post(raw, node, body, tool="visit_each", headers=[("x-user", "mallory")])
            assert refusal_in(reply) == "unknown_handle"
            reply = await post(raw, node, body, tool="visit_each", headers=[("x-user", "alice")])
            assert f"of {handle}" in reply.body.decode()
    assert minting.browsers[0].ledger == [(handle, "p")] * 2


async def test_what_is_kept_of_a_handle_is_found_by_its_uri_in_a_session_that_was_revived(raw: RawClient) -> None:
    store = MemoryStore()

    def make_app() -> Any:
        server = MCPServer("carts")

        @server.tool()
        def new_cart() -> str:
            cart = mooring.new_handle("cart")
            mooring.state(cart)["items"] = 3
            return cart

        @server.resource("cart://{cart}")
        def read_cart(cart: str) -> str:
            return f"{mooring.state(cart)['items']} in your cart"

        return server.streamable_http_app()

    async with running_nodes(make_app, 2, store) as nodes:
        session = await raw.open(nodes[0].url)
        version = {"mcp-protocol-version": "2025-11-25"}
        body = visit("") | {"params": {"name": "new_cart", "arguments": {}}}
        reply = await raw.call(nodes[0].url, session, body=body, headers=version)
        uri = f"cart://{reply.json['result']['content'][0]['text']}"
        await nodes[0].vanish()
        await store.bury(nodes[0].id)
        reply = await raw.call(nodes[1].url, session, body=read(uri), headers=version)
        assert reply.json["result"]["contents"][0]["text"] == "3 in your cart"


@pytest.mark.parametrize("size", [0, 2 * 1024 * 1024])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_anothers_handle_is_guarded_in_uris_and_json_where_nobody_reads_the_body(
    raw: RawClient, minting: Minting, size: int, era: str
) -> None:
    async with running_nodes(lambda: with_users(minting()), 1) as [node]:
        handle = await opened_by(raw, node, "alice")
        session = await raw.open(node.url, headers={"x-user": "mallory"}) if era == "legacy" else None
        headers = {"mcp-protocol-version": "2025-11-25"} if session else {**MODERN, "mcp-method": "resources/read"}
        spelled = handle.replace("~", "%7E")
        for body in (
            read(f"browser://{handle}/page", size),
            read(f"browser://{spelled}/page", size),
            read(f"browser://%20{spelled}/page", size),
            visit(f"\u00a0 {handle}\u2003", "p" * size),
            visit_all(json.dumps([f"{' ' * 600}{handle}"]), size),
            visit_all(json.dumps([handle]), size),
            visit_all(json.dumps([handle]).replace("~", r"\u007e"), size),
        ):
            headers = {**headers, "mcp-method": body["method"], "mcp-name": "any", "x-user": "mallory"}
            reply = await raw.send("POST", f"{node.url}/mcp", session=session, body=body, headers=headers)
            assert minting.browsers[0].ledger == []
            assert b"unknown_handle" in reply.body


@pytest.mark.parametrize("number", ["1" * 5_000, "[" * 5_000 + "]" * 5_000, '"\xff"'], ids=["long", "deep", "broken"])
async def test_anothers_handle_is_guarded_in_a_body_that_the_app_alone_can_read(raw: RawClient, number: str) -> None:
    """Other readers of JSON take longer numbers, deeper nesting and broken UTF-8."""
    app = ScriptedApp()

    async def gate(_: Any, body: bytes, send: Any) -> None:
        text = mooring.new_handle("browser") if b'"open"' in body else "visited"
        result = {"content": [{"type": "text", "text": text}]}
        await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode())

    app.gate = gate
    async with running_nodes(lambda: with_users(app), 1) as [node]:
        opened = await post(raw, node, visit("open"), headers=[("x-user", "alice")])
        body = json.dumps(visit(opened.json["result"]["content"][0]["text"], n=1)).replace('"n": 1', f'"n": {number}')
        for who, reached in (("mallory", 1), ("alice", 2)):
            reply = await post(raw, node, body.encode("latin-1"), headers=[("x-user", who)])
            assert len(app.asked) == reached
            assert (b"unknown_handle" in reply.body) == (who == "mallory")


class Page(BaseModel):
    session_id: Annotated[str, Field(max_length=40)]
    hint: Annotated[str, Field(max_length=60)]


@pytest.mark.parametrize("make_server", SERVERS)
async def test_a_client_takes_what_schemas_would_refuse_since_ids_in_it_are_wrapped(make_server: Any) -> None:
    server: Any = make_server("strict")

    def create_session() -> Page:
        own_id = str(uuid.uuid4())
        return Page(session_id=own_id, hint=f"use {own_id}")

    def visit(session_id: str) -> Page:
        return Page(session_id=session_id, hint=f"it is {session_id}")

    server.tool()(create_session)
    server.tool()(visit)
    rules = [{"mint": "create_session", "field": "session_id", "use": ["session_id"]}]
    async with running_nodes(lambda: app_of(server), 1, handles=rules) as [node], Client(f"{node.url}/mcp") as client:
        await client.list_tools()
        made = await client.call_tool("create_session", {})
        handle = made.structured_content["session_id"]
        result = await client.call_tool("visit", {"session_id": handle})
        assert result.structured_content == {"session_id": handle, "hint": f"it is {handle}"}
