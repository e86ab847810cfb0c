"""Mooring around real apps of SDK v2 and FastMCP 4: whose session is whose, when it ends, and whose client has left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from fastmcp import Context as FastMCPContext
from fastmcp import FastMCP
from mcp.server.mcpserver import Context, MCPServer

from mooring import ClosedSession
from mooring.asgi import App
from mooring.doctor.client.protocol import modern
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node, running_nodes
from tests.fakes import FlakyStore
from tests.node.rpc import HEADERS, RawClient
from tests.node.sdk_apps import Workshop, protected_app, sdk_app
from tests.waiting import until

CALL = {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
VERSION = {"mcp-protocol-version": "2025-11-25"}


def fastmcp_app(idle_seconds: float | None = None) -> App:
    server: FastMCP[Any] = FastMCP("test")

    @server.tool
    def whoami() -> str:
        from fastmcp.server.dependencies import get_context

        return get_context().session_id

    return server.http_app(path="/mcp", session_idle_timeout=idle_seconds)


both = pytest.mark.parametrize("make_app", [sdk_app, fastmcp_app])


@both
async def test_the_apps_own_session_id_is_the_clients(make_app: Callable[..., App], raw: RawClient) -> None:
    async with running_nodes(make_app, 2) as nodes:
        session = await raw.open(nodes[0].url)
        for node in nodes:
            reply = await raw.call(node.url, session, body=CALL, headers=VERSION)
            assert reply.json["result"]["content"][0]["text"] == session


@both
async def test_an_idle_session_is_let_go_and_goes_on_with_its_next_request(
    make_app: Callable[..., App], raw: RawClient
) -> None:
    closed: list[ClosedSession] = []
    store = MemoryStore()
    async with running_node(make_app(0.3), store) as node:
        node.mooring.on_close(closed.append)
        session = await raw.open(node.url)

        async def ended() -> bool:
            return closed == [ClosedSession(session, "ended", "")]

        await until(ended, what="the session to end")
        assert await store.load_session(session) is not None
        assert not await node.mooring.has_session(session)
        reply = await raw.call(node.url, session, body=CALL, headers=VERSION)
        assert reply.json["result"]["content"][0]["text"] == session
        assert await node.mooring.has_session(session)


@both
async def test_an_idle_session_that_must_not_be_revived_is_off_the_record_as_soon_as_the_app_ends_it(
    make_app: Callable[..., App], raw: RawClient
) -> None:
    closed: list[ClosedSession] = []
    store = MemoryStore()
    async with running_node(make_app(0.3), store, on_node_loss="reinitialize") as node:
        node.mooring.on_close(closed.append)
        session = await raw.open(node.url)
        assert await node.mooring.has_session(session)

        async def ended() -> bool:
            return closed == [ClosedSession(session, "ended", "")]

        await until(ended, what="the session to end")
        assert await store.load_session(session) is None
        assert not await node.mooring.has_session(session)
        reply = await raw.call(node.url, session)
        assert (reply.status, reply.reason) == (404, "expired")


@both
async def test_delete_through_another_node_ends_it_once(make_app: Callable[..., App], raw: RawClient) -> None:
    store = MemoryStore()
    closed: list[ClosedSession] = []
    async with running_nodes(make_app, 2, store) as nodes:
        nodes[0].mooring.on_close(closed.append)
        session = await raw.open(nodes[0].url)
        assert (await raw.send("DELETE", f"{nodes[1].url}/mcp", session=session)).status == 200
        assert await store.load_session(session) is None
        assert closed == [ClosedSession(session, "deleted", "")]


@both
async def test_at_the_nodes_own_stop_the_records_stay(make_app: Callable[..., App], raw: RawClient) -> None:
    """A peer has to be able to say that their owner is lost, and later to open them again."""
    store = MemoryStore()
    closed: list[ClosedSession] = []
    async with running_node(make_app(), store) as node:
        node.mooring.on_close(closed.append)
        session = await raw.open(node.url)
    assert await store.load_session(session) is not None
    assert closed == []


async def test_a_session_belongs_to_who_opened_it_on_every_node(raw: RawClient) -> None:
    def bearer(token: str) -> dict[str, str]:
        return {"authorization": f"Bearer {token}", **VERSION}

    store = MemoryStore()
    async with running_nodes(protected_app, 2, store) as nodes:
        session = await raw.open(nodes[0].url, headers=bearer("alice-1"))
        record = await store.load_session(session)
        assert record is not None
        assert record.principal == '["https://issuer.example", "alice", "client"]'
        for node in nodes:
            assert (await raw.call(node.url, session, body=CALL, headers=bearer("alice-2"))).status == 200
            stolen = await raw.call(node.url, session, body=CALL, headers=bearer("mallory"))
            assert (stolen.status, stolen.reason) == (404, "unknown")
            assert (await raw.call(node.url, session, body=CALL, headers=bearer("nobody"))).status == 401
            for token, status in (("mallory", 404), ("nobody", 401)):
                url = f"{node.url}/mcp"
                assert (await raw.send("DELETE", url, session=session, headers=bearer(token))).status == status
            assert (await raw.call(node.url, session, body=CALL, headers=bearer("alice-1"))).status == 200
        assert await store.load_session(session) is not None


# A client leaves while its tool works.

WORK = {"name": "work", "arguments": {}}
workshops = pytest.mark.parametrize("servers", [(MCPServer, Context), (FastMCP, FastMCPContext)], ids=["v2", "fastmcp"])
Servers = tuple[Callable[..., Any], type[Any]]


async def leave_while_it_works(workshop: Workshop, url: str, message: Any, headers: dict[str, str]) -> None:
    """Ask for the work, and close the connection once it has begun."""

    async def ask() -> None:
        async with aiohttp.ClientSession(headers=HEADERS) as http:
            answer = await http.post(f"{url}/mcp", json=message, headers=headers)
            await answer.read()

    asking = asyncio.ensure_future(ask())

    async def works() -> bool:
        return workshop.ledger == ["begins"]

    await until(works, what="the tool to work")
    asking.cancel()
    await asyncio.wait({asking})


@workshops
@pytest.mark.parametrize("bare", [True, False], ids=["bare", "mooring"])
async def test_in_the_modern_era_a_request_whose_client_leaves_is_cancelled(servers: Servers, bare: bool) -> None:
    workshop = Workshop(*servers)
    headers, message = modern(4, "tools/call", WORK)
    async with running_node(workshop, MemoryStore(), around=(lambda _: workshop) if bare else None) as node:
        await leave_while_it_works(workshop, node.url, message, headers)

        async def ended() -> bool:
            return workshop.ledger == ["begins", "cancelled"]

        await until(ended, what="the work to be cancelled")


@workshops
async def test_in_the_modern_era_so_is_one_that_was_passed_on_by_a_node_that_may_not_serve(servers: Servers) -> None:
    built: list[Workshop] = []
    shared = MemoryStore()
    stores: list[FlakyStore] = []

    def build() -> App:
        built.append(Workshop(*servers))
        return built[-1]

    def store() -> FlakyStore:
        stores.append(FlakyStore(shared))
        return stores[-1]

    async with running_nodes(build, 2, store) as nodes:
        cut_off = nodes[0].mooring._node.keeper
        stores[0].away = True

        async def passes_on() -> bool:
            return cut_off.has_lapsed and cut_off.helper is not None

        await until(passes_on, what="the lease to end, and a peer to be found that may serve")
        headers, message = modern(4, "tools/call", WORK)
        await leave_while_it_works(built[1], nodes[0].url, message, headers)

        async def ended() -> bool:
            return built[1].ledger == ["begins", "cancelled"]

        await until(ended, what="the work to be cancelled")
        assert built[0].ledger == []


@workshops
@pytest.mark.parametrize("asked", [0, 1], ids=["at home", "forwarded"])
async def test_in_the_legacy_era_the_work_goes_on_when_its_client_has_left(
    servers: Servers, asked: int, raw: RawClient
) -> None:
    built: list[Workshop] = []

    def build() -> App:
        built.append(Workshop(*servers))
        return built[-1]

    async with running_nodes(build, 2) as nodes:
        session = await raw.open(nodes[0].url)
        heard = built[0].leavings
        headers = {"mcp-session-id": session, **VERSION}
        await leave_while_it_works(built[0], nodes[asked].url, {**CALL, "params": WORK}, headers)

        async def ended() -> bool:
            return len(built[0].ledger) == 2

        built[0].finish.set()
        await until(ended, what="the work to end")
        assert built[0].ledger == ["begins", "finished"]
        assert built[0].leavings == heard


@workshops
async def test_a_node_lets_go_of_a_call_whose_answer_had_not_begun(servers: Servers, raw: RawClient) -> None:
    """An app that answers in JSON says nothing before its tool is done, and does not look for its client."""
    built: list[Workshop] = []

    def build() -> App:
        built.append(Workshop(*servers, json_response=True))
        return built[-1]

    async with running_nodes(build, 2) as nodes:
        session = await raw.open(nodes[0].url)
        headers = {"mcp-session-id": session, **VERSION}
        await leave_while_it_works(built[0], nodes[1].url, {**CALL, "params": WORK}, headers)
        between = nodes[1].server.server_state

        async def has_let_go() -> bool:
            return not between.tasks and not between.connections

        await until(has_let_go, what="the node between to let go of the call")
        assert built[0].ledger == ["begins"]
        built[0].finish.set()
        assert (await raw.call(nodes[1].url, session, body={**CALL, "params": WORK}, headers=VERSION)).status == 200
        assert built[0].ledger == ["begins", "finished", "begins", "finished"]
