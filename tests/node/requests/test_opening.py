"""Requests that may open a session: what is on record when their answer leaves, and what the client learns."""

from __future__ import annotations

import json

from mooring.core.ids import SessionIds
from mooring.store import MemoryStore
from tests.cluster_in_process import SECRET, RunningNode
from tests.node.rpc import INITIALIZE, RawClient


async def test_the_record_is_written_before_the_answer_leaves(
    node: RunningNode, store: MemoryStore, raw: RawClient
) -> None:
    session = await raw.open(node.url)
    record = await store.load_session(session)
    assert record is not None
    assert record.node_id == node.id
    assert record.client == "raw 1.0"
    assert record.protocol == "2025-11-25"
    assert json.loads(record.initialize) == INITIALIZE


async def test_no_inner_id_leaves_on_an_error_answer(node: RunningNode, store: MemoryStore, raw: RawClient) -> None:
    for method, body in [("POST", b"not json"), ("POST", {"method": "tools/list"}), ("GET", None), ("DELETE", None)]:
        reply = await raw.send(method, f"{node.url}/mcp", body=body)
        assert reply.status == 400
        assert "mcp-session-id" not in reply.headers
        assert b"inner-" not in reply.body
    assert [record async for record in store.sessions()] == []


async def test_sessions_are_spread_over_the_nodes_shards(node: RunningNode, raw: RawClient) -> None:
    ids = SessionIds(SECRET)
    shards = [ids.shard_of(await raw.open(node.url)) for _ in range(8)]
    assert sorted(shards) == sorted(node.mooring._node.membership.shards)  # type: ignore[type-var]
