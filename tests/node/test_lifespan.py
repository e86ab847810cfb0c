"""The node joins and leaves with the app's lifespan, and without one too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette

from mooring import Mooring, Settings
from mooring.asgi import Message, Receive, Scope, Send
from mooring.core.ids import SessionIds
from mooring.core.model import NodeState
from mooring.node.links.own_address import OwnAddress
from mooring.processes.tasks import end
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode, running_node, running_nodes
from tests.fakes import FlakyStore
from tests.node.apps import ScriptedApp, answer, initialize_result
from tests.node.direct import Request, a_mooring, initialize, joined
from tests.node.moving.nodes import once
from tests.node.rpc import INITIALIZE, RawClient


async def http_only(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that knows nothing of lifespans, and says so as the ASGI specification suggests."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await answer(send, 200, b"{}")


async def ignores(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that returns from a lifespan at once."""
    if scope["type"] == "http":
        await answer(send, 200, b"{}")


async def reads_and_leaves(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that takes the first message and thinks better of it."""
    await receive()
    if scope["type"] != "http":
        raise ValueError("what is this?")
    await answer(send, 200, b"{}")


async def starts_and_leaves(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that does not wait for the shutdown."""
    if scope["type"] == "http":
        await answer(send, 200, b"{}")
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})


class Failing:
    """An MCP app whose lifespan fails while it is served, once `fails` is set: its sessions end with that."""

    def __init__(self) -> None:
        self.fails = asyncio.Event()
        self._app = MCPServer("failing").streamable_http_app(json_response=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        await receive()
        async with self._app.router.lifespan_context(self._app):
            await send({"type": "lifespan.startup.complete"})
            stopping, failing = asyncio.ensure_future(receive()), asyncio.ensure_future(self.fails.wait())
            await asyncio.wait({stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
            await end(stopping, failing)
            if self.fails.is_set():
                raise ConnectionError("the database is gone")
        await send({"type": "lifespan.shutdown.complete"})


async def health_of(node: RunningNode, raw: RawClient) -> list[int]:
    return [(await raw.send("GET", f"{node.url}{path}")).status for path in ("/readyz", "/healthz")]


@pytest.mark.parametrize("app", [http_only, ignores, reads_and_leaves, starts_and_leaves])
async def test_an_app_without_a_lifespan_is_served(app: Any, raw: RawClient) -> None:
    store = MemoryStore()
    async with running_node(app, store) as node:
        assert (await raw.send("GET", f"{node.url}/readyz")).status == 200
        assert (await raw.send("POST", f"{node.url}/mcp", body={})).status == 200
    assert [lease.node.state for lease in (await store.snapshot()).leases.values()] == [NodeState.GONE]


async def test_what_lives_at_a_node_whose_app_has_failed_since_goes_on_elsewhere(
    raw: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    store, apps = MemoryStore(), [Failing(), Failing()]
    making = iter(apps)
    async with running_nodes(lambda: next(making), 2, store, ingress_seconds=0.05) as nodes:
        session = (await raw.send("POST", f"{nodes[0].url}/mcp", body=INITIALIZE)).session_id
        apps[0].fails.set()
        await once(lambda: nodes[0].mooring._node.is_ending, what="the node to give all away")
        assert "the database is gone" in caplog.text
        assert await health_of(nodes[0], raw) == [503, 503]
        assert (await raw.call(nodes[0].url, session)).status == 200
        assert await nodes[1].mooring.has_session(session)
        assert (await raw.send("POST", f"{nodes[0].url}/mcp", body=INITIALIZE)).status == 200
    assert {lease.node.state for lease in (await store.snapshot()).leases.values()} == {NodeState.GONE}


async def test_a_node_alone_whose_app_has_failed_since_is_not_well(raw: RawClient) -> None:
    app = Failing()
    async with running_node(app, None) as node:
        app.fails.set()
        await once(lambda: node.mooring._node.is_ending, what="the node to say so")
        assert await health_of(node, raw) == [503, 503]


async def test_an_app_that_fails_to_start_fails() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        raise RuntimeError("no database")

    store = MemoryStore()
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        said.append(message)

    with pytest.raises(RuntimeError, match="no database"):
        await Mooring(fails, Settings.load(), store=store)({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    assert (await store.snapshot()).leases == {}


@pytest.mark.parametrize("path", ["/mcp", "/readyz"])
async def test_without_a_lifespan_the_node_joins_with_the_first_request(path: str) -> None:
    store = MemoryStore()
    mooring = Mooring(ScriptedApp(), Settings.load(), store=store)
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    await mooring(scope, receive, send)
    assert statuses == [400 if path == "/mcp" else 200]
    assert [lease.node.state for lease in (await store.snapshot()).leases.values()] == [NodeState.READY]
    await mooring._node.stop()


async def test_without_a_lifespan_it_joins_for_an_endpoint_that_nobody_has_named(raw: RawClient) -> None:
    app: Any = MCPServer("elsewhere").streamable_http_app(streamable_http_path="/tools")
    store = MemoryStore()
    async with (
        app.router.lifespan_context(app),
        running_node(app, store, uvicorn_options={"lifespan": "off"}) as node,
    ):
        assert (await raw.send("POST", f"{node.url}/page", headers={"content-type": "text/plain"})).status == 404
        assert (await store.snapshot()).leases == {}
        session = (await raw.send("POST", f"{node.url}/tools", body=INITIALIZE)).session_id
        assert await node.mooring.has_session(session)
        assert await store.load_session(session) is not None


async def test_without_a_lifespan_it_joins_for_the_older_transport(raw: RawClient) -> None:
    async with (
        running_node(MCPServer("older").sse_app(), MemoryStore(), uvicorn_options={"lifespan": "off"}) as node,
        aiohttp.ClientSession() as http,
        http.get(f"{node.url}/sse", headers={"accept": "text/event-stream"}) as stream,
    ):
        lines = [(await stream.content.readline()).decode().strip() for _ in range(2)]
        session = lines[1].rpartition("session_id=")[2]
        assert await node.mooring.has_session(session), lines


async def test_without_a_lifespan_and_without_its_redis_what_is_no_endpoint_is_the_apps() -> None:
    lost = Settings.load(redis_url="unix:///nowhere", secret=SECRET, advertise_url="http://a")
    app = ScriptedApp()
    reply = await Request(path="/page", headers=[(b"content-type", b"application/json")]).to(Mooring(app, lost))
    assert (reply.status, reply.body) == (200, b'{"other": true}')


@pytest.mark.parametrize("path", ["/", "/elsewhere/mcp"])
async def test_without_a_lifespan_the_first_request_at_a_path_that_is_not_known_yet_finds_its_endpoint(
    path: str,
) -> None:
    """As where it is mounted somewhere in another app: that runs no lifespan below itself."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = initialize_result(1)
        headers = [(b"content-type", b"application/json"), (b"mcp-session-id", b"inner")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    mooring = a_mooring(app, MemoryStore())
    json_headers = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
    opened = await initialize(path=path, headers=json_headers).to(mooring)
    assert SessionIds(SECRET).shard_of(opened.session_id) in mooring._node.membership.shards
    assert mooring._node.sessions.find(opened.session_id) is not None
    await mooring._node.stop()


async def test_a_node_does_not_start_without_its_redis() -> None:
    mooring = Mooring(
        ScriptedApp(), Settings.load(redis_url="unix:///nowhere", secret=SECRET, advertise_url="http://a")
    )
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[Message] = []

    async def receive() -> Message:
        return next(asked)

    async def send(message: Message) -> None:
        said.append(message)

    await mooring({"type": "lifespan"}, receive, send)
    assert said[0]["type"] == "lifespan.startup.failed"
    assert said[0]["message"].startswith("Redis at unix:///nowhere does not answer")


@pytest.mark.parametrize("fails", [False, True], ids=["stops", "fails to stop"])
async def test_an_app_that_has_started_is_stopped_where_its_node_cannot_start(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What it holds since its start, as a program of its own, would be left behind: nobody else tells it."""
    held: list[str] = []
    said: list[Message] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        held.append("a browser")
        yield
        held.clear()
        if fails:
            raise OSError("it does not close")

    async def receive() -> Message:
        assert not said, "the server has nothing more to say"
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        said.append(message)

    settings = Settings.load(redis_url="unix:///nowhere", secret=SECRET, advertise_url="http://a")
    await Mooring(Starlette(lifespan=lifespan), settings)({"type": "lifespan", "state": {}}, receive, send)
    assert [(one["type"], one["message"][:23]) for one in said] == [
        ("lifespan.startup.failed", "Redis at unix:///nowher")
    ]
    assert held == []
    assert ("it does not close" in caplog.text) is fails


async def test_a_node_that_its_cluster_refused_serves_nothing_though_the_server_goes_on() -> None:
    store = MemoryStore()
    app = ScriptedApp()
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[Message] = []

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        said.append(message)

    async with joined(ScriptedApp(), store):
        refused = a_mooring(app, store, node_name="other", secret="x" * 64)
        await refused({"type": "lifespan"}, receive, send)
        assert said[0]["type"] == "lifespan.startup.failed"
        assert (await initialize().to(refused)).status == 503
    assert app.asked == []


async def test_whatever_a_server_says_before_the_shutdown_the_node_stays() -> None:
    """More kinds of messages may come; a node that left for one of them would lose its sessions."""
    store = MemoryStore()
    asked = iter(["lifespan.startup", "lifespan.of-tomorrow", "lifespan.shutdown"])
    states: list[list[NodeState]] = []
    said: list[str] = []

    async def receive() -> Message:
        states.append([lease.node.state for lease in (await store.snapshot()).leases.values()])
        return {"type": next(asked)}

    async def send(message: Message) -> None:
        said.append(message["type"])

    await Mooring(ignores, Settings.load(), store=store)({"type": "lifespan"}, receive, send)
    assert states == [[], [NodeState.READY], [NodeState.READY]]
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert [lease.node.state for lease in (await store.snapshot()).leases.values()] == [NodeState.GONE]


async def test_the_node_joins_after_the_app_has_started_and_leaves_before_it_stops() -> None:
    store = MemoryStore()
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    seen: list[tuple[str, list[NodeState]]] = []

    async def states() -> list[NodeState]:
        return [lease.node.state for lease in (await store.snapshot()).leases.values()]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(2):
            kind = (await receive())["type"]
            seen.append((kind, await states()))
            await send({"type": f"{kind}.complete"})
            seen.append((f"{kind}.complete", await states()))

    async def receive() -> Message:
        return {"type": next(asked)}

    async def send(message: Message) -> None:
        pass

    await Mooring(app, Settings.load(), store=store)({"type": "lifespan"}, receive, send)
    assert seen == [
        ("lifespan.startup", []),
        ("lifespan.startup.complete", [NodeState.READY]),
        ("lifespan.shutdown", [NodeState.GONE]),
        ("lifespan.shutdown.complete", [NodeState.GONE]),
    ]


async def test_a_node_that_is_told_to_stop_while_it_joins_says_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    mooring = Mooring(ignores, Settings.load(), store=store)
    joining = asyncio.Event()

    async def watch(_: OwnAddress) -> None:
        joining.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    monkeypatch.setattr(OwnAddress, "watch", watch)
    living = asyncio.ensure_future(mooring({"type": "lifespan"}, receive, receive))  # type: ignore[arg-type]
    await joining.wait()
    assert [lease.node.state for lease in (await store.snapshot()).leases.values()] == [NodeState.READY]
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert [lease.node.state for lease in (await store.snapshot()).leases.values()] == [NodeState.GONE]


@pytest.mark.parametrize("step", ["claim", "heartbeat"])
async def test_so_does_one_whose_store_has_not_answered_yet(step: str) -> None:
    store = FlakyStore(MemoryStore())
    mooring = Mooring(ignores, Settings.load(), store=store)
    joining = asyncio.Event()

    async def wait() -> None:
        joining.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    store.after[step] = wait
    living = asyncio.ensure_future(mooring({"type": "lifespan"}, receive, receive))  # type: ignore[arg-type]
    await joining.wait()
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert [lease.node.state for lease in (await store.inner.snapshot()).leases.values()] == [NodeState.GONE]


async def test_an_app_may_be_started_again_in_the_same_process() -> None:
    """As a test's client does it, or a server that reloads."""
    mooring, ids = Mooring(ScriptedApp(), Settings.load()), set[str]()
    for _ in range(2):
        asked: asyncio.Queue[Message] = asyncio.Queue()
        said: asyncio.Queue[Message] = asyncio.Queue()
        living = asyncio.create_task(mooring({"type": "lifespan"}, asked.get, said.put))
        asked.put_nowait({"type": "lifespan.startup"})
        assert (await said.get())["type"] == "lifespan.startup.complete"
        assert (await initialize().to(mooring)).status == 200
        ids.add(mooring.node_id)
        asked.put_nowait({"type": "lifespan.shutdown"})
        await living
        assert (await said.get())["type"] == "lifespan.shutdown.complete"
    assert len(ids) == 2
