"""How the store's nouns are written as text, and read back.

What is read may come from another version of Mooring or from a person with redis-cli: an entry that does not
read is left out and logged, never passed on half understood.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from mooring.core.ids import brief, is_shard
from mooring.core.model import Lease, NodeInfo, SessionRecord, ShardOwner

logger = logging.getLogger("mooring.store")

_NODES: Final = TypeAdapter(NodeInfo)
_EPOCH: Final = re.compile(r"[0-9]{1,16}", re.ASCII)

REMOVED_FIELD: Final = b"removed"
"""The field that says that a record was removed; see delete.lua."""


def encode_node(node: NodeInfo) -> str:
    return json.dumps(_NODES.dump_python(node, mode="json"), separators=(",", ":"))


def decode_lease(node_id: str, text: str) -> Lease | None:
    """A lease from `<ends, ms> <renewed, ms> <node, JSON>`, or None where it does not read.

    What a newer version adds to a node is passed over.
    """
    try:
        until_ms, renewed_ms, node = text.split(" ", 2)
        info = _NODES.validate_json(node, strict=True)
        if info.sessions < 0 or info.capacity < 1:
            raise ValueError("a count below what there can be")
        return Lease(replace(info, id=node_id), int(until_ms), int(renewed_ms))
    except ValueError as error:
        logger.warning("node entry %r does not read (%s): left out", node_id[:80], _brief(error))
        return None


def encode_owner(owner: ShardOwner) -> str:
    return f"{owner.epoch} {owner.node_id}"


def decode_owner(shard: str, text: str) -> ShardOwner | None:
    """An owner from `<epoch> <node id>`, or None where it does not read."""
    epoch, _, node_id = text.partition(" ")
    if is_shard(shard) and _EPOCH.fullmatch(epoch) and node_id:
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
        "epoch": record.epoch,
    }


def decode_session(session_id: str, entry: Mapping[bytes, bytes]) -> SessionRecord | None:
    """A record from the fields of its hash, or None where there is none, it was removed, or it does not read."""
    if not entry or REMOVED_FIELD in entry:
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
            epoch=_epoch(entry.get(b"epoch", b"")),
        )
    except (KeyError, ValueError) as error:
        logger.warning("session record %s does not read (%s): left out", brief(session_id), error)
        return None


def _epoch(text: bytes) -> int:
    """As shared.lua has it: what does not read is 0, which anyone may write over."""
    shown = text.decode(errors="replace")
    return int(shown) if _EPOCH.fullmatch(shown) else 0


def _brief(error: ValueError) -> str:
    """One line, without what was read."""
    if not isinstance(error, ValidationError):
        return "not a lease"
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
