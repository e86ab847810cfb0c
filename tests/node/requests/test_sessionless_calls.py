"""Calls of the legacy era to servers without sessions: as those of the modern one, they go where their handles lead."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable
from typing import Any

import fastmcp
import pytest
from mcp.server.mcpserver import MCPServer

from mooring.asgi import Receive, Scope, Send
from tests.cluster_in_process import RunningNode, running_nodes
from tests.node.apps import answer, lifespan
from tests.node.direct import Request, joined
from tests.node.requests.test_modern import with_users
from tests.node.rpc import INITIALIZE, RawClient, Reply
from tests.node.state_nodes import VERSION, request, said
from tests.servers.browsers import Browsers, minting_server, unaware_server
from tests.servers.counters import CountingNodes

RULES = [{"mint": "create_session", "field": "session_id", "use": ["session_id"]}]

shapes = pytest.mark.parametrize(
    ("make_server", "is_json"),
    list(itertools.product([MCPServer, fastmcp.FastMCP], [False, True])),
    ids=["sdk", "sdk json", "fastmcp", "fastmcp json"],
)


class Sessionless:
    """Makes the app of each node: one that has no sessions."""

    def __init__(
        self, make_server: Any = MCPServer, make: Callable[..., Any] = minting_server, *, is_json: bool = False
    ) -> None:
        self.browsers: list[Browsers] = []
        self._make_server = make_server
        self._make = make
        self._options = {"stateless_http": True, "json_response": is_json}

    def __call__(self) -> Any:
        self.browsers.append(Browsers())
        server = self._make(self._make_server, self.browsers[-1])
        if hasattr(server, "http_app"):
            return server.http_app(path="/mcp", **self._options)
        return server.streamable_http_app(**self._options)


async def ask(raw: RawClient, node: RunningNode, tool: str, /, **arguments: Any) -> Reply:
    return await raw.send("POST", f"{node.url}/mcp", body=request(tool, **arguments), headers=VERSION)


@shapes
async def test_each_reaches_the_process_that_holds_its_handle(raw: RawClient, make_server: Any, is_json: bool) -> None:
    apps = Sessionless(make_server, is_json=is_json)
    async with running_nodes(apps) as nodes:
        opened = await raw.send("POST", f"{nodes[0].url}/mcp", body=INITIALIZE)
        assert opened.status == 200
        assert "mcp-session-id" not in opened.headers
        handle = said(await ask(raw, nodes[1], "open_browser"))
        for turn in range(1, 7):
            assert said(await ask(raw, nodes[turn % 3], "visit", browser=handle, url="p")) == f"page {turn} of {handle}"
    assert [len(browsers.ledger) for browsers in apps.browsers] == [0, 6, 0]


@shapes
async def test_what_is_kept_of_a_handle_goes_on(raw: RawClient, make_server: Any, is_json: bool) -> None:
    apps = CountingNodes(make_server, stateless_http=True, json_response=is_json)
    async with running_nodes(apps) as nodes:
        counter = said(await ask(raw, nodes[0], "new_counter"))
        for turn in range(1, 4):
            assert said(await ask(raw, nodes[turn % 3], "count_up", counter=counter)) == str(turn)
        await nodes[0].vanish()
        assert said(await ask(raw, nodes[1], "count_up", counter=counter)) == "4"


@shapes
async def test_own_ids_of_an_unaware_server_lead_back_to_it(raw: RawClient, make_server: Any, is_json: bool) -> None:
    apps = Sessionless(make_server, unaware_server, is_json=is_json)
    async with running_nodes(apps, handles=RULES) as nodes:
        made = await ask(raw, nodes[2], "create_session")
        handle = made.json["result"]["structuredContent"]["session_id"]
        assert handle.startswith("mh~")
        for turn in range(1, 4):
            assert said(await ask(raw, nodes[turn % 3], "visit", session_id=handle, url="p")).startswith(f"page {turn}")


@pytest.mark.parametrize("make_server", [MCPServer, fastmcp.FastMCP])
async def test_so_it_is_at_an_endpoint_that_no_setting_names(raw: RawClient, make_server: Any) -> None:
    """Since no session tells of it, its clients do, by the revision in their headers."""
    held: list[Browsers] = []

    def make_app() -> Any:
        held.append(Browsers())
        server = minting_server(make_server, held[-1])
        if make_server is MCPServer:
            return server.streamable_http_app(streamable_http_path="/tools/mcp", stateless_http=True)
        return server.http_app(path="/tools/mcp", stateless_http=True)

    async with running_nodes(make_app, 2) as nodes:

        async def ask_there(node: RunningNode, tool: str, **arguments: Any) -> str:
            body = request(tool, **arguments)
            return said(await raw.send("POST", f"{node.url}/tools/mcp", body=body, headers=VERSION))

        handle = await ask_there(nodes[0], "open_browser")
        for turn in (1, 2):
            assert await ask_there(nodes[turn % 2], "visit", browser=handle, url="p") == f"page {turn} of {handle}"


async def test_schemas_say_nothing_that_a_wrapped_id_is_not(raw: RawClient) -> None:
    server: Any = MCPServer("strict")

    def visit(session_id: uuid.UUID) -> str:
        return f"{session_id} it is"

    server.tool()(visit)
    app = server.streamable_http_app(stateless_http=True)
    async with running_nodes(lambda: app, 1, handles=[{"mint": "create", "use": ["session_id"]}]) as [node]:
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        reply = await raw.send("POST", f"{node.url}/mcp", body=listing, headers=VERSION)
    [tool] = reply.json["result"]["tools"]
    assert "format" not in tool["inputSchema"]["properties"]["session_id"]


async def test_a_large_call_may_use_what_is_kept(raw: RawClient) -> None:
    async with running_nodes(CountingNodes(MCPServer, stateless_http=True), 1, handle_search_bytes=1024) as [node]:
        counter = said(await ask(raw, node, "new_counter"))
        assert said(await ask(raw, node, "count_up", counter=counter, more="x" * 4096)) == "1"
        assert said(await ask(raw, node, "count_up", counter=counter, do="initialize", more="x" * 4096)) == "2"


async def test_an_initialize_that_is_too_large_to_be_searched_opens_a_session(raw: RawClient) -> None:
    initialize = {**INITIALIZE, "params": {**INITIALIZE["params"], "more": "x" * 4096}}  # type: ignore[dict-item]
    async with running_nodes(CountingNodes(MCPServer), 2, handle_search_bytes=1024) as nodes:
        opened = await raw.send("POST", f"{nodes[0].url}/mcp", body=initialize)
        assert (await raw.call(nodes[1].url, opened.session_id)).status == 200


async def test_what_is_no_json_is_not_held() -> None:
    """It may be answered before it is whole, as it is where somebody talks to something of the app's own."""
    heard: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["body"])
        await answer(send, 200, b"{}")

    headers = [(b"content-type", b"application/octet-stream")]
    async with joined(app) as mooring:
        upload = Request(path="/mcp/upload", headers=headers, pieces=[b"first"], is_whole=False)
        async with asyncio.timeout(5):
            assert (await upload.to(mooring)).status == 200
    assert heard == [b"first"]


async def test_a_forged_one_is_a_tool_error(raw: RawClient) -> None:
    apps = Sessionless()
    async with running_nodes(apps, 2) as nodes:
        handle = said(await ask(raw, nodes[0], "open_browser"))
        reply = await ask(raw, nodes[1], "visit", browser=handle[:-4], url="p")
    assert reply.json["result"]["isError"]
    assert "There is no handle" in said(reply)
    assert all(not browsers.ledger for browsers in apps.browsers)


async def test_what_is_no_tools_call_hears_an_error_that_ends_no_connection(raw: RawClient) -> None:
    """SDK v1 for Python closes all that it has over a 400."""
    async with running_nodes(Sessionless(), 1) as [node]:
        handle = said(await ask(raw, node, "open_browser"))
        body = {**request("visit", browser=handle[:-4]), "method": "prompts/get"}
        reply = await raw.send("POST", f"{node.url}/mcp", body=body, headers=VERSION)
    assert (reply.status, reply.json["id"], reply.reason) == (200, body["id"], "unknown_handle")


@pytest.mark.parametrize("shape", ["small", "large", "batch", "with an odd method"])
async def test_anothers_handle_reaches_no_app(raw: RawClient, shape: str) -> None:
    apps = Sessionless()

    async def send(node: RunningNode, user: str, body: Any) -> Reply:
        return await raw.send("POST", f"{node.url}/mcp", body=body, headers={**VERSION, "x-user": user})

    async with running_nodes(lambda: with_users(apps()), 2, handle_search_bytes=2048) as nodes:
        handle = said(await send(nodes[0], "alice", request("open_browser")))
        call = request("visit", browser=handle, url="p" * 4096 if shape == "large" else "p")
        if shape == "with an odd method":
            call["method"] = "initialize"
        body: Any = [call] if shape == "batch" else call
        assert (await send(nodes[0], "alice", request("visit", browser=handle, url="p"))).status == 200
        reply = await send(nodes[0], "mallory", body)
        assert b"unknown_handle" in reply.body, reply.body
    assert [browsers.ledger for browsers in apps.browsers] == [[(handle, "p")], []]


class Batching:
    """A server that takes batches, as those of revision 2025-03-26 do, and answers each call with what it was told.

    Attributes:
        asked: the bodies that came.
    """

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        self.asked.append((await receive())["body"])
        answers = [self._answer(message) for message in json.loads(self.asked[-1])]
        await answer(send, 200, json.dumps(answers).encode())

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        tools = [{"name": "create_session", "outputSchema": {"properties": {"session_id": {"format": "uuid"}}}}]
        result: dict[str, Any] = {"tools": tools}
        if message["method"] == "tools/call":
            own_id = message["params"]["arguments"].get("session_id", "browser-123")
            result = {"structuredContent": {"session_id": own_id}, "content": []}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}


async def test_a_batch_goes_where_the_handles_in_it_lead(raw: RawClient) -> None:
    apps: list[Batching] = []

    def make_app() -> Batching:
        apps.append(Batching())
        return apps[-1]

    async with running_nodes(make_app, 2, handles=RULES) as nodes:

        async def send(node: RunningNode, *batch: Any) -> Any:
            return (await raw.send("POST", f"{node.url}/mcp", body=batch, headers=VERSION)).json

        listing = {"jsonrpc": "2.0", "id": "l", "method": "tools/list"}
        [made, listed] = await send(nodes[1], request("create_session"), listing)
        handle = made["result"]["structuredContent"]["session_id"]
        assert handle.startswith("mh~")
        assert listed["result"]["tools"][0]["outputSchema"] == {"properties": {"session_id": {}}}
        both = [request("visit", session_id=handle), request("visit", session_id=handle)]
        answers = await send(nodes[0], *both)
        assert [one["result"]["structuredContent"]["session_id"] for one in answers] == [handle, handle]
        assert not apps[0].asked
        assert b"mh~" not in apps[1].asked[-1]
        await nodes[1].vanish()
        gone = await send(nodes[0], *both)
        assert [one["id"] for one in gone] == [one["id"] for one in both]
        assert {one["error"]["data"]["reason"] for one in gone} == {"handle_gone"}
