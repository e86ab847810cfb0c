"""Refusals: nothing is said to be gone before its record is, and what is logged was verified."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from typing import Any

import pytest

from mooring.asgi import Message, Receive, Scope, Send
from mooring.core.ids import SessionIds
from tests.cluster_in_process import SECRET, running_nodes
from tests.node.clusters import Cluster, three_nodes
from tests.node.requests.test_modern import MODERN, Minting, opened_by, visit, with_users
from tests.node.rpc import RawClient
from tests.waiting import until


async def test_delete_of_a_dead_nodes_session_removes_the_record_once(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    await cluster.nodes[0].vanish()
    url = f"{cluster.nodes[1].url}/mcp"
    assert (await raw.send("DELETE", url, session=session)).status == 200
    assert await cluster.store.load_session(session) is None
    assert (await raw.send("DELETE", url, session=session)).reason == "expired"


async def test_ids_that_were_never_minted_are_forged(cluster: Cluster, raw: RawClient) -> None:
    good = await raw.open(cluster.nodes[0].url)
    before = await cluster.store.snapshot()
    for bad in ["x", "a" * 10_000, good[:-1], good + "A", good.upper(), "../../etc/passwd", "{}", "*", "a b"]:
        reply = await raw.call(cluster.nodes[1].url, bad)
        assert (reply.status, reply.reason) == (404, "forged"), bad
        assert bad.encode() not in reply.body
    assert [record.id async for record in cluster.store.sessions()] == [good]
    assert (await cluster.store.snapshot()).shards == before.shards


async def test_a_retired_shards_session_is_unknown(cluster: Cluster, raw: RawClient) -> None:
    reply = await raw.call(cluster.nodes[0].url, SessionIds(SECRET).mint("zzzzz", b"0" * 16))
    assert (reply.status, reply.reason) == (404, "unknown")


async def test_a_session_id_twice_is_a_bad_request(cluster: Cluster, raw: RawClient) -> None:
    session = await raw.open(cluster.nodes[0].url)
    reply = await raw.call(cluster.nodes[0].url, session, headers=[("mcp-session-id", session)])
    assert (reply.status, reply.reason) == (400, "duplicate_header")
    assert "send it once" in reply.json["error"]["message"]
    assert "a proxy in front of the nodes, or between them" in reply.json["error"]["message"]


async def test_an_unknown_session_is_not_said_to_be_gone_while_the_store_may_lack_it(raw: RawClient) -> None:
    async with three_nodes(hold_seconds=0.1) as cluster:
        node = cluster.nodes[0]
        lost = SessionIds(SECRET).mint("zzzzz", b"0" * 16)
        cluster.store._leases.clear()
        cluster.store._shards.clear()
        reply = await raw.call(node.url, lost, body={"jsonrpc": "2.0", "id": 3, "method": "ping"})
        assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", 3)

        async def has_everything_again() -> bool:
            return len((await cluster.store.snapshot()).shards or {}) == 24

        await until(has_everything_again, what="the store to have everything again")
        assert (await raw.call(node.url, lost)).reason == "unreachable"
        keeper = node.mooring._node.keeper
        keeper._now = lambda: time.monotonic() + node.mooring.settings.lease_seconds
        assert not keeper.is_in_grace
        assert (await raw.call(node.url, lost)).reason == "unknown"


async def test_what_is_logged_was_verified(cluster: Cluster, raw: RawClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="mooring")
    session = await raw.open(cluster.nodes[0].url)
    await raw.call(cluster.nodes[1].url, "evil-id-with-a-fake-log-line")
    await raw.call(cluster.nodes[1].url, session, headers={"mooring-peer": "evil-claim"})
    await cluster.nodes[0].vanish()
    await raw.send("DELETE", f"{cluster.nodes[1].url}/mcp", session=session)
    await raw.call(cluster.nodes[1].url, session)
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("mooring"))
    assert "evil" not in said
    assert session not in said
    assert f"{session[:10]}... of {cluster.nodes[1].id}: expired" in said
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in warned if f"node {cluster.nodes[0].id} cannot be reached" in line]) == 1


@pytest.mark.parametrize("kib", [1, 100, 900, 3_000])
@pytest.mark.parametrize("at", [0, 1], ids=["here", "passed on"])
async def test_a_request_that_is_refused_for_now_is_named_however_large_it_is(
    raw: RawClient, kib: int, at: int
) -> None:
    """A client that gets no answer to its very request waits for one, most of them for ever."""
    async with three_nodes(hold_seconds=0.3, lease_seconds=20, heartbeat_seconds=5) as cluster:
        session = await raw.open(cluster.nodes[0].url)
        if at == 0:
            cluster.nodes[0].mooring._node.membership.moving.add(session.partition(".")[0])
        else:
            await cluster.nodes[1].mooring._node.keeper.beat()
            hangs = asyncio.Event()

            async def hang(scope: Scope, body: bytes, send: Send) -> None:
                hangs.set()
                await asyncio.Event().wait()

            cluster.apps[0].on_session = hang
        arguments = {"name": "store", "arguments": {"text": "x" * 1024 * kib}}
        call = {"jsonrpc": "2.0", "id": "of mine", "method": "tools/call", "params": arguments}
        asking = asyncio.create_task(raw.call(cluster.nodes[at].url, session, body=call))
        if at == 1:
            await hangs.wait()
            await cluster.nodes[0].vanish()
        reply = await asking
        assert (reply.status, reply.reason, reply.json["id"]) == (200, "unreachable", "of mine")


def unpacking(app: Any) -> Any:
    """An app behind something that unpacks what clients have compressed."""

    async def unpacked(scope: Scope, receive: Receive, send: Send) -> None:
        if dict(scope.get("headers", [])).get(b"content-encoding") != b"gzip":
            await app(scope, receive, send)
            return

        async def receive_unpacked() -> Message:
            message = await receive()
            return {**message, "body": gzip.decompress(message["body"])} if "body" in message else message

        kept = (b"content-encoding", b"content-length")
        await app({**scope, "headers": [h for h in scope["headers"] if h[0] not in kept]}, receive_unpacked, send)

    return unpacked


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("codings", [["gzip"], ["identity", "gzip"]])
async def test_what_is_compressed_is_refused_since_nobody_knows_whose_handles_it_names(
    raw: RawClient, era: str, at: int, codings: list[str]
) -> None:
    minting = Minting()
    async with running_nodes(lambda: unpacking(with_users(minting())), 2) as nodes:
        handle = await opened_by(raw, nodes[0], "alice")
        session = await raw.open(nodes[0].url, headers={"x-user": "mallory"}) if era == "legacy" else None
        headers = {"mcp-protocol-version": "2025-11-25"} if session else {**MODERN, "mcp-method": "tools/call"}
        headers |= {"x-user": "mallory", "mcp-name": "visit"}
        given = [*headers.items(), *(("content-encoding", coding) for coding in codings)]
        body = gzip.compress(json.dumps(visit(handle)).encode())
        reply = await raw.send("POST", f"{nodes[at].url}/mcp", session=session, body=body, headers=given)
        assert [browsers.ledger for browsers in minting.browsers] == [[], []]
        assert (reply.status, reply.reason) == (415, "compressed")
        assert reply.headers["accept-encoding"] == "identity"
