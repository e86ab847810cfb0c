"""How the store's nouns are written as text, and read back.

What is read may come from another version of Mooring or from a person with redis-cli: an entry that does not
read is left out and logged, never passed on half understood.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from mooring.core.ids import is_shard
from mooring.core.model import Counters, Lease, NodeInfo, NodeState, SessionRecord, ShardOwner

logger = logging.getLogger("mooring.store")

_NODE_FIELDS = frozenset(field.name for field in fields(NodeInfo))


def encode_node(node: NodeInfo) -> str:
    return json.dumps({**asdict(node), "counters": asdict(node.counters)}, separators=(",", ":"))


def decode_lease(node_id: str, text: str) -> Lease | None:
    """A lease from `<ends, ms> <renewed, ms> <node, JSON>`, or None where it does not read."""
    try:
        until_ms, renewed_ms, node = text.split(" ", 2)
        said: dict[str, Any] = json.loads(node)
        counters = Counters(**said.pop("counters"))
        said = {name: value for name, value in said.items() if name in _NODE_FIELDS}
        info = NodeInfo(**{**said, "id": node_id, "state": NodeState(said["state"])}, counters=counters)
        return Lease(info, int(until_ms), int(renewed_ms))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("node entry %r does not read (%s): left out", node_id[:80], error)
        return None


def encode_owner(owner: ShardOwner) -> str:
    return f"{owner.epoch} {owner.node_id}"


def decode_owner(shard: str, text: str) -> ShardOwner | None:
    """An owner from `<epoch> <node id>`, or None where it does not read."""
    epoch, _, node_id = text.partition(" ")
    if is_shard(shard) and epoch.isdecimal() and node_id:
        return ShardOwner(node_id, int(epoch))
    logger.warning("shard entry %r does not read: left out", shard[:80])
    return None


def encode_session(record: SessionRecord) -> dict[str, Any]:
    return {
        "node": record.node_id,
        "created": record.created,
        "last_seen": record.last_seen,
        "principal": record.principal,
        "protocol": record.protocol,
        "client": record.client,
        "initialize": record.initialize,
    }


def decode_session(session_id: str, entry: Mapping[bytes, bytes]) -> SessionRecord | None:
    """A record from the fields of its hash, or None where there is none or it does not read."""
    if not entry:
        return None

    def text(name: bytes) -> str:
        return entry.get(name, b"").decode(errors="replace")

    try:
        return SessionRecord(
            id=session_id,
            node_id=text(b"node"),
            created=float(entry[b"created"]),
            last_seen=float(entry[b"last_seen"]),
            principal=text(b"principal"),
            protocol=text(b"protocol"),
            client=text(b"client"),
            initialize=entry.get(b"initialize", b""),
        )
    except (KeyError, ValueError) as error:
        logger.warning("session record %s does not read (%s): left out", session_id, error)
        return None
