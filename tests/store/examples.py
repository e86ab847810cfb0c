"""Nodes and a session's record, as they are kept in a store."""

from __future__ import annotations

from dataclasses import replace

from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord
from mooring.core.sealing import Seals

SECRET = "a secret for what is kept"
SEALS = Seals([SECRET], "mcp")
"""For a store whose keys begin with `mcp`."""

NODE = NodeInfo(
    id="node-1-abcde",
    name="node-1",
    url="http://127.0.0.1:9001",
    pid=42,
    state=NodeState.READY,
    sessions=3,
    capacity=100,
    version="0.1.0",
    secret_id="0123abcd",
    started=1_700_000_000.5,
    counters=Counters(served=7, forwarded_in=1, forwarded_out=2, refused={"forged": 4}),
)
OTHER = replace(NODE, id="node-2-abcde", name="node-2", url="http://127.0.0.1:9002")
RECORD = SessionRecord(
    id="abcde.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB",
    node_id=NODE.id,
    created=1_700_000_000.25,
    last_seen=1_700_000_001.5,
    principal='["iss","sub","client"]',
    protocol="2025-11-25",
    client="Naïve client 1.0",
    initialize=b'{"method":"initialize"}',
    epoch=3,
)
ABSENT = "zzzzz.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBB"
"""The id of a session without a record."""
