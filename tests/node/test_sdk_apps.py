"""Mooring around real apps of SDK v2 and FastMCP 4: whose session is whose, and when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastmcp import FastMCP

from mooring import ClosedSession
from mooring.asgi import App
from mooring.store import MemoryStore
from tests.cluster_in_process import running_node, running_nodes
from tests.node.rpc import RawClient
from tests.node.sdk_apps import protected_app, sdk_app
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
async def test_an_idle_session_is_off_the_record_as_soon_as_the_app_ends_it(
    make_app: Callable[..., App], raw: RawClient
) -> None:
    closed: list[ClosedSession] = []
    store = MemoryStore()
    async with running_node(make_app(0.3), store) as node:
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
