"""How the store's nouns are written as text, and read back.

What is read may come from another version of Mooring or from a person with redis-cli. What cannot be read is never
passed on half understood, and is told of once for each entry, not with each heartbeat:

    what cannot be read        what is made of it
    -------------------------  -----------------------------------------------------------------------------
    what a node says           a node in state `unknown`, with the parts that can be read; its lease still counts
    a node's lease             left out
    a shard's owner            left out
    a session's record         left out
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Final, get_type_hints

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from mooring.core.changes import Changes
from mooring.core.ids import brief, is_shard
from mooring.core.model import Lease, NodeInfo, NodeState, SessionRecord, ShardOwner, unknown_node
from mooring.store.keys import VERSION_FIELD

logger = logging.getLogger("mooring.store")

_NODES: Final = TypeAdapter(NodeInfo)
_NODE_PARTS: Final[Mapping[str, TypeAdapter[Any]]] = {
    name: TypeAdapter(kind)
    for name, kind in (
        get_type_hints(NodeInfo) | {"sessions": Annotated[int, Field(ge=0)], "capacity": Annotated[int, Field(ge=1)]}
    ).items()
}
_HOMES: Final = TypeAdapter(tuple[tuple[str, FiniteFloat], ...])
_TEXTS: Final = TypeAdapter(tuple[str, ...])
_OBJECT: Final = TypeAdapter(dict[str, Any])
_EPOCH: Final = re.compile(r"[0-9]{1,16}", re.ASCII)
_LEASE: Final = re.compile(r"([0-9]{1,16}) ([0-9]{1,16}) (.*)", re.ASCII | re.DOTALL)

PLACEHOLDER: Final = "{}"
"""What adopt.lua writes for a node whose entry was lost, to give it a lease."""
REMOVED_FIELD: Final = b"removed"
"""The field that says that a record was removed; see delete.lua."""


def encode_node(node: NodeInfo) -> str:
    return json.dumps(_NODES.dump_python(node, mode="json"), separators=(",", ":"))


def decode_changes(answer: Sequence[Any]) -> Changes:
    """What a script says of nodes and shards: see `answer` in changes.lua."""
    now_ms, version, mark, has_all_leases, nodes, has_all_shards, shards = answer
    leases = {node_id: decode_lease(node_id, text, int(now_ms)) if text else None for node_id, text in _pairs(nodes)}
    owners = {
        shard: decode_owner(shard, text) if text else None for shard, text in _pairs(shards) if shard != VERSION_FIELD
    }
    return Changes(int(now_ms), int(version), mark.decode(), leases, owners, bool(has_all_leases), bool(has_all_shards))


def _pairs(flat: Sequence[bytes] | Mapping[bytes, bytes]) -> Iterator[tuple[str, str]]:
    for name, value in pairs(flat):
        yield name, value.decode(errors="replace")


def pairs(flat: Sequence[bytes] | Mapping[bytes, bytes]) -> Iterator[tuple[str, bytes]]:
    """The fields of a hash: a flat list in RESP2, perhaps a map in RESP3."""
    items = flat.items() if isinstance(flat, Mapping) else zip(flat[::2], flat[1::2], strict=True)
    for name, value in items:
        yield name.decode(errors="replace"), value


def decode_lease(node_id: str, text: str, now_ms: int) -> Lease | None:
    """A lease from `<ends, ms> <renewed, ms> <node, JSON>`, or None where it cannot be read.

    What a newer version adds to a node is ignored.

    Args:
        now_ms: when it was read, by the store's clock.
    """
    parts = _LEASE.fullmatch(text)
    if parts is None:
        complain("node", node_id[:80], "not a lease: left out")
        return None
    until_ms, renewed_ms, said = parts.groups()
    return Lease(_decode_node(node_id, said), int(until_ms), int(renewed_ms), is_over=int(until_ms) <= now_ms)


def _decode_node(node_id: str, said: str) -> NodeInfo:
    if said == PLACEHOLDER:
        return unknown_node(node_id)
    try:
        info = _NODES.validate_json(said, strict=True)
    except ValidationError:
        return _decode_in_part(node_id, said)
    if info.sessions < 0 or info.capacity < 1:
        return _decode_in_part(node_id, said)
    return replace(info, id=node_id)


def _decode_in_part(node_id: str, said: str) -> NodeInfo:
    """Those parts of a node that read, in state `unknown`. A goodbye is believed whatever else there is."""
    try:
        parts = _OBJECT.validate_json(said, strict=True)
    except ValidationError:
        parts = {}
    read: dict[str, Any] = {}
    for name, kind in _NODE_PARTS.items():
        with contextlib.suppress(KeyError, ValidationError):
            read[name] = kind.validate_json(json.dumps(parts[name]), strict=True)
    unread = ", ".join(name for name in _NODE_PARTS if name not in read)
    complain("node", node_id[:80], f"{unread}: taken for a node that takes no new sessions")
    state = NodeState.GONE if read.get("state") is NodeState.GONE else NodeState.UNKNOWN
    return replace(unknown_node(node_id), **read | {"id": node_id, "state": state})


def encode_owner(owner: ShardOwner) -> str:
    return f"{owner.epoch} {owner.node_id}"


def decode_owner(shard: str, text: str) -> ShardOwner | None:
    """An owner from `<epoch> <node id>`, or None where it cannot be read."""
    epoch, _, node_id = text.partition(" ")
    if is_shard(shard) and _EPOCH.fullmatch(epoch) and node_id:
        return ShardOwner(node_id, int(epoch))
    complain("shard", shard[:80], "not an owner: left out")
    return None


def encode_session(record: SessionRecord) -> dict[str, Any]:
    """The fields of its hash; those that say nothing are empty, and save.lua leaves them out."""
    return {
        "node": record.node_id,
        "created": record.created,
        "last_seen": record.last_seen,
        "principal": record.principal,
        "protocol": _writable(record.protocol),
        "client": _writable(record.client),
        "initialize": record.initialize,
        "epoch": record.epoch,
        "endpoint": _writable(record.endpoint),
        "incarnation": record.incarnation or "",
        "log_level": _writable(record.log_level),
        "subscriptions": json.dumps(record.subscriptions) if record.subscriptions else "",
        "has_stream": int(record.has_stream) or "",
        "homes": json.dumps(record.homes, separators=(",", ":")) if record.homes else "",
    }


def _writable(text: str) -> str:
    """What somebody says, with "?" for half a character (a lone surrogate): JSON can say one, and Redis takes none."""
    return text.encode(errors="replace").decode()


def decode_session(session_id: str, entry: Mapping[bytes, bytes]) -> SessionRecord | None:
    """A record from the fields of its hash, or None where there is none, it was removed, or it cannot be read."""
    if not entry or REMOVED_FIELD in entry:
        return None

    def text(name: bytes) -> str:
        return entry.get(name, b"").decode(errors="replace")

    try:
        return SessionRecord(
            id=session_id,
            node_id=text(b"node"),
            created=_seconds(entry[b"created"]),
            last_seen=_seconds(entry[b"last_seen"]),
            principal=text(b"principal"),
            protocol=text(b"protocol"),
            client=text(b"client"),
            initialize=entry.get(b"initialize", b""),
            epoch=_epoch(entry.get(b"epoch", b"")),
            endpoint=text(b"endpoint"),
            incarnation=_epoch(entry.get(b"incarnation", b"")),
            log_level=text(b"log_level"),
            subscriptions=_TEXTS.validate_json(text(b"subscriptions") or "[]", strict=True),
            has_stream=text(b"has_stream") == "1",
            homes=_HOMES.validate_json(text(b"homes") or "[]"),
        )
    except (KeyError, ValueError) as error:
        complain("session", brief(session_id), f"{type(error).__name__}: left out")
        return None


def decode_moment(text: bytes | None) -> float | None:
    """Seconds since the epoch, as records have them; None where there are none, or they cannot be read."""
    try:
        return None if text is None else _seconds(text)
    except ValueError:
        return None


def _seconds(text: bytes) -> float:
    """
    Raises:
        ValueError: it is no moment, as `nan` and `inf` are none.
    """
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError("no moment")
    return seconds


def _epoch(text: bytes) -> int:
    """As shared.lua has it: what does not read is 0, which anyone may write over."""
    shown = text.decode(errors="replace")
    return int(shown) if _EPOCH.fullmatch(shown) else 0


TOLD_OF: Final = 20
"""Of entries that cannot be read for one reason: where there are more, one line says so, and none follows."""


class _Complaints:
    """What was told of, by kind and reason: entries, as long as there are not too many."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], set[str]] = {}

    def __call__(self, kind: str, name: str, why: str) -> None:
        """Once for each entry and reason. With a wrong secret they are as many as there are sessions."""
        told = self._told.setdefault((kind, why), set())
        if name in told or len(told) > TOLD_OF:
            return
        told.add(name)
        if len(told) > TOLD_OF:
            logger.warning(
                "more than %d entries of the kind %s cannot be read; no more is said (key_prefix, secret)",
                TOLD_OF,
                kind,
            )
            return
        logger.warning(
            "the entry of %s %r cannot be read (%s): is it another program's, or another version's? (key_prefix)",
            kind,
            name,
            why,
        )

    def forget(self) -> None:
        """Tell of all anew."""
        self._told.clear()


complain: Final = _Complaints()
