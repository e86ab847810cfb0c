"""Ids of servers that know nothing of handles: wrapped on their way out, their own again on the way in."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import threading
import uuid
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import fastmcp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.client import Client
from mcp.client.subscriptions import ResourceUpdated, listen
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field
from starlette.middleware.gzip import GZipMiddleware

import mooring
from mooring.asgi import App, Message, Receive, Scope, Send, header
from mooring.core import sse
from mooring.core.handles import Handles
from mooring.core.wrapping import Wrapping
from mooring.node.requests import wrapped_answer
from mooring.node.requests.wrapped_answer import WrappedAnswer
from mooring.store import MemoryStore
from tests.cluster_in_process import RunningNode, running_node, running_nodes
from tests.node.apps import ScriptedApp, answer
from tests.node.requests.test_modern import MODERN, call, post, refusal_in, text_of, visit
from tests.node.rpc import RawClient, Reply
from tests.real_redis import real_redis
from tests.servers.browsers import Browsers, app_of, unaware_server

RULES = [{"mint": "create_session", "field": "session_id", "use": ["session_id"]}]
HANDLES = Handles("sixteen letters and more")


class Unaware:
    """Nodes with servers that never heard of Mooring."""

    def __init__(self, make_server: Any) -> None:
        self.browsers: list[Browsers] = []
        self._make_server = make_server

    def __call__(self) -> Any:
        self.browsers.append(Browsers())
        return app_of(unaware_server(self._make_server, self.browsers[-1]))


@pytest.mark.parametrize("make_server", [MCPServer, fastmcp.FastMCP])
async def test_a_servers_own_ids_lead_back_to_it_and_it_never_notices(make_server: Any) -> None:
    unaware = Unaware(make_server)
    async with running_nodes(unaware, handles=RULES) as nodes:
        sessions = []
        for _ in range(4):
            created = await call(random.choice(nodes).url, "create_session")
            session = created.structured_content["session_id"]
            assert session.startswith("mh~")
            assert session in text_of(created)
            assert json.loads(text_of(created))["session_id"] == session
            sessions.append(session)
        for turn in range(1, 4):
            for session in sessions:
                result = await call(random.choice(nodes).url, "visit", session_id=session, url=f"p{turn}")
                assert not result.is_error
                assert text_of(result) == f"page {turn} of {session}"
    seen = [entry for browsers in unaware.browsers for entry in browsers.ledger]
    assert len(seen) == 12
    assert all(browser.startswith("browser-") for browser, _ in seen)
    assert {browser for browsers in unaware.browsers for browser in browsers.pages} == {browser for browser, _ in seen}


Session = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Session"})]
Note = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Note"})]


async def test_an_app_that_compresses_for_whoever_lets_it_is_asked_not_to(raw: RawClient) -> None:
    result = {"structuredContent": {"session_id": "browser-1"}, "tools": [], "taskId": "task-1"}

    def make_app() -> Any:
        return GZipMiddleware(Answering(lambda _: result), minimum_size=1)

    async with running_nodes(make_app, 1, handles=RULES, mark_handle_params=True, handle_params="Session") as [node]:
        for tool, headers in (("create_session", MODERN), ("visit", {**MODERN, "mcp-method": "tools/list"})):
            given = {**headers, "mcp-name": tool, "accept-encoding": "gzip"}
            reply = await raw.send("POST", f"{node.url}/mcp", body=visit("x"), headers=given)
            assert "content-encoding" not in reply.headers
            assert reply.json["result"]["structuredContent"]["session_id"].startswith("mh~") == (tool != "visit")
        given = {**MODERN, "mcp-name": "visit", "accept-encoding": "gzip"}
        reply = await raw.send("POST", f"{node.url}/mcp", body=visit("x"), headers=given)
        assert reply.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("own_id", "said"), [(7, "a number"), ("x" * 70_000, "70,000 letters"), (chr(0xD800), "no text"), ("browser-1", "")]
)
async def test_what_cannot_be_wrapped_is_told(
    raw: RawClient, caplog: pytest.LogCaptureFixture, own_id: Any, said: str
) -> None:
    result = {
        "structuredContent": {"session_id": own_id},
        "content": [{"type": "text", "text": json.dumps({"session_id": own_id})}],
    }
    async with running_nodes(lambda: Answering(lambda _: result), 1, handles=RULES) as [node]:
        for _ in range(3):  # and once, as it is so with each call
            reply = await post(raw, node, visit("x"), tool="create_session")
            assert (reply.json["result"] == result) == bool(said)
    told = [record.getMessage() for record in caplog.records if record.name == "mooring.handles"]
    assert [said in line for line in told if "not wrapped" in line] == ([True] if said else [])
    assert str(own_id) not in "".join(told)


class Made(BaseModel):
    session_id: Annotated[str, Field(pattern=r"^s-[0-9]+$", max_length=20)]


def strict_server(make_server: Any) -> Any:
    """What its ids look like is said in its schemas."""
    server: Any = make_server("strict")

    def create_session() -> uuid.UUID:
        return uuid.uuid4()

    def create_short() -> Made:
        return Made(session_id="s-1234567890")

    def visit(session_id: uuid.UUID) -> str:
        return f"{session_id} it is"

    for tool in (create_session, create_short, visit):
        server.tool()(tool)
    return app_of(server)


@pytest.mark.parametrize("make_server", [MCPServer, fastmcp.FastMCP])
@pytest.mark.parametrize("make_client", [Client, fastmcp.Client])
async def test_clients_take_handles_where_schemas_say_what_ids_look_like(make_server: Any, make_client: Any) -> None:
    rules = [{"mint": "create_session", "use": ["session_id"]}, {"mint": "create_short", "field": "session_id"}]
    async with (
        running_nodes(lambda: strict_server(make_server), 1, handles=rules) as [node],
        make_client(f"{node.url}/mcp") as client,
    ):
        await client.list_tools()
        made = await client.call_tool("create_session", {})
        session = text_of(made).strip('"')
        assert session.startswith("mh~")
        if make_server is fastmcp.FastMCP:  # SDK v2 says no UUID in structured content
            assert made.structured_content == {"result": session}
            assert getattr(made, "data", session) == session
        short = await client.call_tool("create_short", {})
        assert short.structured_content["session_id"].startswith("mh~")
        assert text_of(await client.call_tool("visit", {"session_id": session})) == f"{session} it is"


def logging_server(make_server: Any, form: str = "session-{}") -> Any:
    """Its sessions have logs, which only the process has that made them.

    Args:
        form: of the names of its sessions.
    """
    server: Any = make_server("logging")
    logs: dict[str, str] = {}

    def create_session() -> dict[str, str]:
        """A new session, and where its log is."""
        name = form.format(f"{len(logs)}-{id(logs)}")
        logs[name] = f"log of {name}"
        return {"session_id": name, "log": f"log://{quote(name, safe='')}/all"}

    def log(name: str) -> str:
        return logs[name]

    def tell(session_id: str) -> str:
        return f"Tell me of {session_id}"

    server.tool()(create_session)
    server.resource("log://{name}/all")(log)
    server.prompt()(tell)
    return app_of(server)


@pytest.mark.parametrize("form", ["session-{}", "Müller/My log {}"], ids=["plain", "in percents"])
@pytest.mark.parametrize("make_server", [MCPServer, fastmcp.FastMCP])
async def test_a_resource_that_is_named_by_a_wrapped_id_is_read_where_it_is(make_server: Any, form: str) -> None:
    async with running_nodes(lambda: logging_server(make_server, form), handles=RULES) as nodes:
        for turn in range(3):
            made = (await call(nodes[turn].url, "create_session")).structured_content
            for node in nodes:
                async with Client(f"{node.url}/mcp") as client:
                    [content] = (await client.read_resource(made["log"])).contents
                    assert content.uri == made["log"]
                    assert content.text == f"log of {made['session_id']}"  # type: ignore[union-attr]
                    prompt = await client.get_prompt("tell", {"session_id": made["session_id"]})
                    assert prompt.messages[0].content.text == f"Tell me of {made['session_id']}"  # type: ignore[union-attr]


def told_server() -> Any:
    """It tells those who listen to a session's log of what was added."""
    server = MCPServer("told")

    async def add(name: str, ctx: Context[Any]) -> str:
        await ctx.notify_resource_updated(f"log://{name}/all")
        return "added"

    server.tool()(add)
    mooring.share_changes(server)
    return app_of(server)


async def test_whoever_listens_to_what_a_wrapped_id_names_hears_of_it_by_that_name() -> None:
    rules = [{"mint": "create_session", "field": "session_id", "use": ["name"]}]
    async with running_nodes(told_server, 2, handles=rules, ingress_seconds=0.05, drain_seconds=5) as nodes:
        holder = nodes[0].mooring._node
        name = holder.handles.wrap(holder.next_shard(), "session-1")
        uri = f"log://{name}/all"
        async with (
            Client(f"{nodes[1].url}/mcp") as client,
            listen(client.session, resource_subscriptions=[uri]) as stream,
        ):
            await call(nodes[1].url, "add", name=name)
            event = await asyncio.wait_for(anext(aiter(stream)), 10)
            assert event == ResourceUpdated(uri)
            await nodes[0].mooring.drain()
            async with asyncio.timeout(5):
                assert [event async for event in stream] == []  # one that is lost raises
        other = nodes[1].mooring._node
        there = f"log://{other.handles.wrap(other.next_shard(), 'session-2')}/all"
        async with (
            Client(f"{nodes[1].url}/mcp") as client,
            listen(client.session, resource_subscriptions=[uri, there]) as stream,
        ):  # it listens again for all that it knows, though some is gone
            await call(nodes[1].url, "add", name=there.split("/")[2])
            assert await asyncio.wait_for(anext(aiter(stream)), 10) == ResourceUpdated(there)


@pytest.mark.real
async def test_whoever_listens_to_what_several_nodes_have_hears_of_all_by_their_names() -> None:
    rules = [{"mint": "create_session", "field": "session_id", "use": ["name"]}]
    async with real_redis() as redis, contextlib.AsyncExitStack() as running:
        nodes = [
            await running.enter_async_context(
                running_node(told_server(), None, f"node-{number}", redis_url=redis.url, handles=rules)
            )
            for number in range(3)
        ]
        members = [node.mooring._node for node in nodes]
        names = [one.handles.wrap(one.next_shard(), f"session-{number}") for number, one in enumerate(members)]
        uris = [f"log://{name}/all" for name in names]
        async with (
            Client(f"{nodes[2].url}/mcp") as client,
            listen(client.session, resource_subscriptions=uris) as stream,
        ):
            events = aiter(stream)
            for name, uri in zip(names, uris, strict=True):
                await call(nodes[0].url, "add", name=name)
                assert await asyncio.wait_for(anext(events), 10) == ResourceUpdated(uri)


async def test_so_it_does_where_the_one_that_is_asked_has_heard_nothing_yet_of_a_node_that_has_just_joined(
    raw: RawClient,
) -> None:
    store = MemoryStore()
    lasting: dict[str, Any] = {"heartbeat_seconds": 30.0, "lease_seconds": 600.0}
    first_app, second_app = (Answering(lambda _: {"resultType": "complete"}) for _ in range(2))
    async with (
        running_node(first_app, store, "node-1", handles=RULES, **lasting) as first,
        running_node(second_app, store, "node-2", handles=RULES, **lasting) as second,
    ):
        members = [node.mooring._node for node in (first, second)]
        names = [one.handles.wrap(one.next_shard(), f"session-{number}") for number, one in enumerate(members)]
        assert second.id not in members[0].membership.view.nodes
        for node in (second, first):
            for asked in (names, names[1:]):
                filter_of_it = {"resourceSubscriptions": [f"log://{name}/all" for name in asked]}
                body = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen"}
                body["params"] = {"notifications": filter_of_it}
                headers = {**MODERN, "mcp-method": "subscriptions/listen"}
                await raw.send("POST", f"{node.url}/mcp", body=body, headers=headers)

    def heard_by(app: Answering) -> list[list[str]]:
        return [json.loads(body)["params"]["notifications"]["resourceSubscriptions"] for _, _, body in app.asked]

    both, one = ["log://session-0/all", "log://session-1/all"], ["log://session-1/all"]
    assert (heard_by(first_app), heard_by(second_app)) == ([both, both], [one, one])


def mirroring_server() -> Any:
    """Its clients mirror both arguments into headers, which the SDK holds against the body."""
    server = MCPServer("mirroring")

    def visit(session_id: Session, note: Note) -> str:
        """Opens a page."""
        return f"{session_id}: {note}"

    server.tool()(visit)
    return app_of(server)


async def test_what_is_mirrored_into_headers_is_the_servers_own_again_as_in_the_body() -> None:
    async with running_nodes(mirroring_server, 1, handles=RULES) as [node], Client(f"{node.url}/mcp") as client:
        await client.list_tools()
        handle = node.mooring._node.handles.wrap(node.mooring._node.next_shard(), "browser-1")
        result = await client.call_tool("visit", {"session_id": handle, "note": f"as in {handle}, é"})
        assert text_of(result) == f"{handle}: as in {handle}, é"


async def test_an_id_that_a_server_makes_of_another_leads_where_that_does(raw: RawClient) -> None:
    def said(message: dict[str, Any]) -> dict[str, Any]:
        name = message["params"]["name"]
        arguments = message["params"]["arguments"]
        made = {"session_id": "browser-1", "tab": "browser-1:tab-2"}
        return {"structuredContent": made if name == "create_session" else {"asked": arguments}}

    apps: list[Answering] = []

    def make_app() -> Answering:
        apps.append(Answering(said))
        return apps[-1]

    async with running_nodes(make_app, 2, handles=RULES) as nodes:
        body = visit("x")
        body["params"]["name"] = "create_session"
        tab = (await post(raw, nodes[0], body, tool="create_session")).json["result"]["structuredContent"]["tab"]
        assert tab.startswith("mh~")
        body = visit("x")
        body["params"]["arguments"] = {"tab": tab}
        await post(raw, nodes[1], body)
    assert [json.loads(body)["params"]["arguments"] for _, _, body in apps[0].asked][1:] == [{"tab": "browser-1:tab-2"}]


async def test_a_body_that_is_too_large_to_be_searched_is_unwrapped_by_its_headers(raw: RawClient) -> None:
    unaware = Unaware(MCPServer)
    async with running_nodes(unaware, handles=RULES, handle_search_bytes=1024) as nodes:
        session = (await call(nodes[0].url, "create_session")).structured_content["session_id"]
        for node in nodes:
            body = visit("x")
            body["params"]["arguments"] = {"session_id": session, "url": "p" * 300_000}
            body["params"]["note"] = session
            reply = await post(raw, node, body, headers=[("mcp-param-session", session)])
            assert reply.json["result"]["content"][0]["text"].startswith("page ")
    [(browser, pages)] = [one for browsers in unaware.browsers for one in browsers.pages.items()]
    assert browser.startswith("browser-")
    assert pages == ["p" * 300_000] * 3


async def test_a_wrapped_id_of_a_dead_node_is_said_to_be_gone(raw: RawClient) -> None:
    unaware = Unaware(MCPServer)
    async with running_nodes(unaware, handles=RULES) as nodes:
        session = (await call(nodes[0].url, "create_session")).structured_content["session_id"]
        await nodes[0].vanish()
        for node in nodes[1:]:
            body = visit("x")
            body["params"]["arguments"] = {"session_id": session, "url": "p"}
            reply = await post(raw, node, body)
            assert refusal_in(reply) == "handle_gone"
            assert session in reply.json["result"]["content"][0]["text"]
    assert all(not browsers.ledger for browsers in unaware.browsers)


class Answering(ScriptedApp):
    """Answers what a test says, on every node, and knows what it was asked."""

    def __init__(self, said: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__()

        async def gate(scope: Any, body: bytes, send: Any) -> None:
            message = json.loads(body)
            result = said(message)
            await answer(send, 200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())

        self.gate = gate


async def test_tasks_of_one_process_come_back_to_it(raw: RawClient) -> None:
    def said(message: dict[str, Any]) -> dict[str, Any]:
        if message["method"] == "tools/call":
            return {"resultType": "task", "taskId": "task 7/ü", "status": "working"}
        return {"resultType": "complete", "taskId": message["params"]["taskId"], "status": "working"}

    apps: list[Answering] = []

    def make_app() -> Answering:
        apps.append(Answering(said))
        return apps[-1]

    async with running_nodes(make_app, tasks="node") as nodes:
        task = (await post(raw, nodes[0], visit("x"))).json["result"]["taskId"]
        assert task.startswith("mh~")
        for method in ("tasks/get", "tasks/cancel"):
            body = {"jsonrpc": "2.0", "id": 8, "method": method, "params": {"taskId": task}}
            headers = {**MODERN, "mcp-method": method, "mcp-name": task}
            reply = await raw.send("POST", f"{nodes[2].url}/mcp", body=body, headers=headers)
            assert reply.json["result"]["taskId"] == task
    assert [json.loads(body)["params"].get("taskId") for _, _, body in apps[0].asked] == [None, "task 7/ü", "task 7/ü"]
    names = [dict(scope["headers"])[b"mcp-name"] for scope in apps[0].scopes if scope["type"] == "http"][1:]
    assert names == [b"=?base64?dGFzayA3L8O8?="] * 2
    assert not apps[2].asked


async def test_a_list_of_tasks_goes_on_in_the_process_that_has_begun_it(raw: RawClient) -> None:
    """Revision 2025-11-25: the SDKs' stores in memory take a task's id for the cursor."""

    def listing(prefix: str) -> Answering:
        def said(message: dict[str, Any]) -> dict[str, Any]:
            cursor = message["params"].get("cursor", "0")
            if cursor not in ("0", f"{prefix}-1"):
                return {"unknown": cursor}
            if message["method"] == "tools/list":
                return {"tools": [], "nextCursor": f"{prefix}-1"}
            number = int(cursor[-1]) + 1
            more = {"nextCursor": f"{prefix}-1"} if number == 1 else {}
            return {"tasks": [{"taskId": f"{prefix}-{number}", "status": "working"}], **more}

        return Answering(said)

    prefixes = iter(["first", "second", "third"])

    async def ask(node: RunningNode, method: str, **params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 8, "method": method, "params": params}
        headers = {"mcp-protocol-version": "2025-11-25"}
        return (await raw.send("POST", f"{node.url}/mcp", body=body, headers=headers)).json["result"]

    async with running_nodes(lambda: listing(next(prefixes)), tasks="node") as nodes:
        begun = await ask(nodes[0], "tasks/list")
        assert begun["nextCursor"] == begun["tasks"][0]["taskId"]
        for node in nodes:
            more = await ask(node, "tasks/list", cursor=begun["nextCursor"])
            handle = node.mooring._node.handles.read(more["tasks"][0]["taskId"])
            assert handle is not None
            assert handle.own_id == "first-2"
        assert (await ask(nodes[0], "tools/list"))["nextCursor"] == "first-1"  # which any node may know


@pytest.mark.parametrize("answered", ["asked", "told"])
async def test_what_a_task_has_made_leads_back_to_it(raw: RawClient, answered: str) -> None:
    """A tool that mints may run as a task, whose outcome is in the answer to `tasks/get`, or in a notification."""
    made = {"content": [{"type": "text", "text": "made browser-1"}], "structuredContent": {"session_id": "browser-1"}}
    task = {"taskId": "task-7", "status": "completed", "result": made}

    async def gate(_: Any, body: bytes, send: Any) -> None:
        message = json.loads(body)
        if message["method"] == "tools/call":
            result: dict[str, Any] = {"resultType": "task", "taskId": "task-7", "status": "working"}
        else:
            result = {"resultType": "complete", **task} if answered == "asked" else {"resultType": "complete"}
        said = [{"jsonrpc": "2.0", "id": message["id"], "result": result}]
        if message["method"] != "tools/call" and answered == "told":
            said.insert(0, {"jsonrpc": "2.0", "method": "notifications/tasks", "params": task})
        events = "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in said)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": events.encode(), "more_body": False})

    apps: list[ScriptedApp] = []

    def make_app() -> ScriptedApp:
        apps.append(ScriptedApp())
        apps[-1].gate = gate
        return apps[-1]

    def messages(reply: Reply) -> list[Any]:
        return [json.loads(line[6:]) for line in reply.body.decode().splitlines() if line.startswith("data: ")]

    async with running_nodes(make_app, tasks="node", handles=RULES) as nodes:
        [began] = messages(await post(raw, nodes[0], visit("x"), tool="create_session"))
        name = began["result"]["taskId"]
        body = {"jsonrpc": "2.0", "id": 8, "method": "tasks/get", "params": {"taskId": name}}
        if answered == "told":
            body["method"], body["params"] = "subscriptions/listen", {"notifications": {"taskIds": [name]}}
        headers = {**MODERN, "mcp-method": str(body["method"])}
        reply = await raw.send("POST", f"{nodes[1].url}/mcp", body=body, headers=headers)
        first = messages(reply)[0]
        task = first["result"] if answered == "asked" else first["params"]
        assert task["taskId"] == name
        session = task["result"]["structuredContent"]["session_id"]
        assert session.startswith("mh~")
        assert task["result"]["content"][0]["text"] == f"made {session}"
        asked = visit("x")
        asked["params"]["arguments"] = {"session_id": session, "url": "p"}
        await post(raw, nodes[2], asked)
    assert [len(app.asked) for app in apps] == [3, 0, 0]


async def test_request_state_of_one_process_comes_back_to_it(raw: RawClient) -> None:
    def said(message: dict[str, Any]) -> dict[str, Any]:
        state = message["params"].get("requestState")
        return {"resultType": "input_required", "requestState": "sealed+/==", "seen": state}

    apps: list[Answering] = []

    def make_app() -> Answering:
        apps.append(Answering(said))
        return apps[-1]

    async with running_nodes(make_app, request_state="node") as nodes:
        state = (await post(raw, nodes[1], visit("x"))).json["result"]["requestState"]
        body = visit("x")
        body["params"]["requestState"] = state
        reply = await post(raw, nodes[0], body)
        assert reply.json["result"]["seen"] == "sealed+/=="
        assert reply.json["result"]["requestState"] == state
    assert [len(app.asked) for app in apps] == [0, 2, 0]


async def test_without_the_settings_nothing_is_wrapped(raw: RawClient) -> None:
    said = {"resultType": "task", "taskId": "t", "requestState": "s", "structuredContent": {"session_id": "browser-1"}}
    async with running_nodes(lambda: Answering(lambda _: said), 1) as [node]:
        assert (await post(raw, node, visit("x"), tool="create_session")).json["result"] == said


def wrapping(*fields: str) -> Wrapping:
    return Wrapping(lambda own_id: HANDLES.wrap("abcde", own_id), fields or ("session_id",))


async def passed(pieces: list[bytes], kind: bytes, **headers: bytes) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    given = [(b"content-type", kind), *((name.encode(), value) for name, value in headers.items())]
    answering = WrappedAnswer(wrapping, send)
    await answering.send({"type": "http.response.start", "status": 200, "headers": given})
    for number, piece in enumerate(pieces):
        more = number + 1 < len(pieces)
        await answering.send({"type": "http.response.body", "body": piece, "more_body": more})
    return sent


def body_of(sent: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[one:other] for one, other in itertools.pairwise(at)] or [b""]


RESULT = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": {"session_id": "browser-1"}, "content": []}}
)
events = st.lists(
    st.sampled_from(
        [
            f"event: message\ndata: {RESULT}\n\n",
            f"event: message\r\nid: 3\r\ndata: {RESULT}\r\n\r\n",
            f"data: {RESULT}\r\r",
            ": ping\n\n",
            ": one\n: two\n\n",
            'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1.50}}\n\n',
            "data: no json\n\n",
            "id: 4\nretry: 20\n\n",
            "data:\n\n",
        ]
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=150)
@given(events, st.lists(st.integers(0, 2000), max_size=12))
async def test_a_stream_is_wrapped_alike_however_it_is_cut(said: list[str], places: list[int]) -> None:
    data = "".join(said).encode()
    parts = sse.SseParser().read(body_of(await passed(cut(data, places), b"text/event-stream")))
    expected = sse.SseParser().read(data)
    handle = HANDLES.wrap("abcde", "browser-1")
    assert handle is not None
    assert len(parts) == len(expected)
    for part, before in zip(parts, expected, strict=True):
        if isinstance(part, sse.SseEvent) and isinstance(before, sse.SseEvent) and "browser-1" in before.data:
            assert json.loads(part.data) == json.loads(before.data.replace("browser-1", handle))
            assert (part.event, part.id) == (before.event, before.id)
        else:
            assert part == before


async def test_each_event_goes_out_when_it_is_whole() -> None:
    event = f"data: {RESULT}\n\n".encode()
    sent = await passed([event, event[:30], event[30:] + b"data: x"], b"text/event-stream")
    assert [message.get("body", b"").count(b"\n\n") for message in sent[1:]] == [1, 1]
    assert sent[-1]["body"].endswith(b"data: x")


async def test_json_is_whole_before_it_goes_out_and_its_length_is_right() -> None:
    data = RESULT.encode()
    start, body = await passed(
        [data[:10], data[10:]], b"application/json; charset=utf-8", **{"content-length": b"%d" % len(data)}
    )
    assert dict(start["headers"])[b"content-length"] == b"%d" % len(body["body"])
    assert json.loads(body["body"])["result"]["structuredContent"]["session_id"].startswith("mh~")


async def test_events_of_a_whole_answer_are_no_longer_as_long_as_they_were() -> None:
    event = f"data: {RESULT}\n\n".encode()
    start, *_ = await passed([event], b"text/event-stream", **{"content-length": b"%d" % len(event)})
    assert header(start["headers"], b"content-length") is None


async def test_what_is_said_not_to_be_compressed_is_not() -> None:
    sent = await passed([RESULT.encode()], b"application/json", **{"content-encoding": b"Identity"})
    assert b"mh~" in body_of(sent)


async def test_what_is_too_large_or_compressed_goes_out_as_it_came(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(wrapped_answer, "LIMIT_BYTES", 40)
    data = RESULT.encode()
    pieces = [data[:50], data[50:]]
    assert body_of(await passed(pieces, b"application/json")) == data
    event = b"data: " + data + b"\n\n"
    assert body_of(await passed([event[:50], event[50:]], b"text/event-stream")) == event
    assert "went out as it is" in caplog.text
    assert body_of(await passed([data], b"application/json", **{"content-encoding": b"gzip"})) == data
    assert "compressed" in caplog.text
    assert body_of(await passed([data], b"text/plain")) == data


@pytest.mark.parametrize("make_server", [MCPServer, fastmcp.FastMCP])
@pytest.mark.parametrize("make_client", [Client, fastmcp.Client])
async def test_clients_mirror_what_is_marked_for_a_server_that_marks_nothing(
    make_server: Any, make_client: Any
) -> None:
    unaware, seen = Unaware(make_server), list[bytes | None]()

    def heard(app: App) -> App:
        async def hear(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and header(scope["headers"], b"mcp-name") == b"visit":
                seen.append(header(scope["headers"], b"mcp-param-session-id"))
            await app(scope, receive, send)

        return hear

    said: dict[str, Any] = {
        "handles": json.dumps(RULES),
        "handle_params": "Session-Id",
        "mark_handle_params": True,
    }
    async with (
        running_nodes(unaware, 1, around=heard, **said) as [node],
        make_client(f"{node.url}/mcp") as client,
    ):
        await client.list_tools()
        session = json.loads(text_of(await client.call_tool("create_session", {})))["session_id"]
        await client.call_tool("visit", {"session_id": session, "url": "p"})
    assert seen == [session.encode()]
    assert [pages for one in unaware.browsers for pages in one.pages.values()] == [["p"]]


class Reader(Wrapping):
    """Notes in which thread it reads."""

    def __init__(self) -> None:
        super().__init__(lambda own_id: HANDLES.wrap("abcde", own_id), ("session_id",))
        self.threads: list[int] = []

    def message(self, text: str) -> str | None:
        self.threads.append(threading.get_ident())
        return super().message(text)


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
async def test_a_large_message_holds_nobody_else_up(kind: bytes) -> None:
    reader, sent = Reader(), bytearray()

    async def send(message: Message) -> None:
        sent.extend(message.get("body", b""))

    wrapped = WrappedAnswer(lambda: reader, send)
    await wrapped.send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    said = {"structuredContent": {"session_id": "browser-1", "page": "x" * 1_000_000}}
    large, small = (json.dumps({"id": 1, "result": one}).encode() for one in (said, {"last": True}))
    if kind == b"application/json":
        await wrapped.send({"type": "http.response.body", "body": large})
    else:  # and what is said at the same time comes after it
        pieces = [(b"data: %b\n\n" % large, True), (b"data: %b\n\n" % small, False)]
        messages = [{"type": "http.response.body", "body": body, "more_body": more} for body, more in pieces]
        await asyncio.gather(*map(wrapped.send, messages))
        assert bytes(sent).endswith(pieces[1][0])
    assert reader.threads[0] != threading.get_ident()
    assert threading.get_ident() in reader.threads[1:] or kind == b"application/json"
    assert b'"session_id":"mh~' in sent
