"""How the store's nouns are written as text, and read back.

What is read may come from another version of Mooring or from a person with redis-cli: an entry that cannot be
read is left out and logged, never passed on half understood.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from mooring.core.ids import brief, is_shard
from mooring.core.model import Lease, NodeInfo, SessionRecord, ShardOwner

logger = logging.getLogger("mooring.store")

_NODES: Final = TypeAdapter(NodeInfo)
_LONGEST_EPOCH: Final = 16


def encode_node(node: NodeInfo) -> str:
    return json.dumps(_NODES.dump_python(node, mode="json"), separators=(",", ":"))


def decode_lease(node_id: str, text: str) -> Lease | None:
    """A lease from `<ends, ms> <renewed, ms> <node, JSON>`, or None where it cannot be read.

    What a newer version adds to a node is ignored.
    """
    try:
        until_ms, renewed_ms, node = text.split(" ", 2)
        info = _NODES.validate_json(node, strict=True)
        if info.sessions < 0 or info.capacity < 1:
            raise ValueError("a count is too low")
        return Lease(replace(info, id=node_id), int(until_ms), int(renewed_ms))
    except ValueError as error:
        logger.warning("node entry %r cannot be read (%s): left out", node_id[:80], _brief(error))
        return None


def encode_owner(owner: ShardOwner) -> str:
    return f"{owner.epoch} {owner.node_id}"


def decode_owner(shard: str, text: str) -> ShardOwner | None:
    """An owner from `<epoch> <node id>`, or None where it cannot be read."""
    epoch, _, node_id = text.partition(" ")
    if is_shard(shard) and epoch.isdecimal() and len(epoch) <= _LONGEST_EPOCH and node_id:
        return ShardOwner(node_id, int(epoch))
    logger.warning("shard entry %r cannot be read: left out", shard[:80])
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
    """A record from the fields of its hash, or None where there is none or it cannot be read."""
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
        logger.warning("session record %s cannot be read (%s): left out", brief(session_id), error)
        return None


def _brief(error: ValueError) -> str:
    """One line, without what was read."""
    if not isinstance(error, ValidationError):
        return "not a lease"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
