"""The names of all keys in Redis.

    <prefix>:{cluster}:nodes      hash    node id -> lease end, last renewal, what the node says of itself
    <prefix>:{cluster}:shards     hash    shard -> epoch, owner; the field `#version`: see `Snapshot.version`
    <prefix>:{cluster}:told       hash    what nodes were last told of a node: see changes.lua
    <prefix>:{cluster}:changes    zset    node or shard -> number of its last change
    <prefix>:{cluster}:ends       zset    node id -> lease end; less than 0: it is known to be over
    <prefix>:{cluster}:removed    zset    node or shard that is no longer there -> when it was removed
    <prefix>:session:{<id>}       hash    the session's record, for `session_ttl_seconds` after its last use

The braces are literal: hash tags, so that what one script touches lies on one node of a Redis Cluster.
A session id becomes a key only after `SessionIds.shard_of` has verified it, or when this node minted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VERSION_FIELD: Final = "#version"
_CHANGES: Final = ("told", "changes", "ends", "removed")


@dataclass(frozen=True, slots=True)
class Keys:
    prefix: str

    @property
    def nodes(self) -> str:
        return f"{self.prefix}:{{cluster}}:nodes"

    @property
    def shards(self) -> str:
        return f"{self.prefix}:{{cluster}}:shards"

    @property
    def cluster(self) -> list[str]:
        """All that the scripts on nodes and shards touch, in the order in which they know them."""
        return [self.nodes, self.shards, *(f"{self.prefix}:{{cluster}}:{name}" for name in _CHANGES)]

    def session(self, session_id: str) -> str:
        return f"{self.prefix}:session:{{{session_id}}}"

    @property
    def every_session(self) -> str:
        """A pattern for SCAN that matches the records, and none of the keys that belong to them."""
        return f"{self.prefix}:session:{{*}}"

    def session_id(self, key: str) -> str:
        """The session id in a record's key."""
        return key[len(self.prefix) + len(":session:{") : -1]
