"""A registry with a few nodes and sessions in it, behind the commands that read one."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord, ShardOwner
from mooring.store import MemoryStore, Store
from tests.fakes import Clock

NODE_1 = NodeInfo(
    id="node-1-abcde",
    name="node-1",
    url="http://127.0.0.1:9001",
    pid=4242,
    state=NodeState.READY,
    sessions=2,
    capacity=100,
    version="0.1.0",
    secret_id="0123abcd",
    started=1_700_000_000.5,
    counters=Counters(
        70,
        11,
        12,
        {"unknown": 3, "forged": 1},
        adopted=8,
        revived=5,
        outcomes={"unknown": 1},
        streams_open=4,
        streams_kept=6,
    ),
)
NODE_2 = replace(NODE_1, id="node-2-abcde", name="node-2", url="http://127.0.0.1:9002", counters=Counters())
DEAD_NODE = replace(NODE_2, id="node-3-abcde", name="node-3", url="http://127.0.0.1:9003")

RECORD = SessionRecord(
    id="abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB",
    node_id=NODE_1.id,
    created=1_700_000_000.25,
    last_seen=1_700_000_001.5,
    principal='["https://issuer","ann","agent"]',
    protocol="2025-11-25",
    client="Naïve client 1.0",
)
LOST = replace(RECORD, id="bcdef.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB", node_id=DEAD_NODE.id, created=1_700_000_009.0)


def filled_store(clock: Clock, *records: SessionRecord) -> MemoryStore:
    """Two nodes that are alive, one that died 97.5 s ago, and these sessions."""
    store = MemoryStore(clock)

    async def fill() -> None:
        await store.register(DEAD_NODE, lease_seconds=5)
        clock.now += 97.5
        for node, shard in ((NODE_1, "abcde"), (NODE_2, "fghij")):
            await store.register(node, lease_seconds=5)
            await store.claim(shard, ShardOwner(node.id, 1), expected_epoch=0)
        clock.now += 0.25
        await store.save_sessions(records, ttl_seconds=3600)

    asyncio.run(fill())
    return store


def use(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every Redis URL lead to `store`."""
    monkeypatch.setattr("mooring.cli.chosen_cluster.open_store", lambda *_: store)
    monkeypatch.setenv("MOORING_REDIS_URL", "redis://127.0.0.1:1/0")
