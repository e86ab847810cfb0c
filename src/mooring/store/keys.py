"""The names of all keys in Redis.

    <prefix>:{cluster}:nodes      hash    node id -> lease end, last renewal, what the node says of itself
    <prefix>:{cluster}:shards     hash    shard -> epoch, owner; the field `#version`: see `Snapshot.version`
    <prefix>:{cluster}:told       hash    what nodes were last told of a node: see changes.lua
    <prefix>:{cluster}:changes    zset    node or shard -> number of its last change
    <prefix>:{cluster}:ends       zset    node id -> lease end; less than 0: it is known to be over
    <prefix>:{cluster}:removed    zset    node or shard that is no longer there -> when it was removed
    <prefix>:{cluster}:orders     hash    node id -> the operator's word for it, until it is read, or for minutes
    <prefix>:session:{<id>}       hash    the session's record, for `session_ttl_seconds` after its last use
    <prefix>:session:{<id>}:log   stream  what was sent on its streams, for minutes: see redis_journal.py
    <prefix>:session:{<id>}:calls hash    its calls, for minutes after they ended
    <prefix>:session:{<id>}:state string  what its server keeps, as long as the record: see commit.lua
    <prefix>:session:{<id>}:carried string  a dump that goes along when it is given away, until its new owner has it
    <prefix>:handle:{<id>}        the same five of a handle, as far as something is kept of it; it is no session's
    <prefix>:place:{<key>}        string  the shard of a placement key, for `placement_idle_seconds` and half of that

    <prefix>:{cluster}:events     channel of what nodes tell each other of their servers' changes; keeps nothing. Not
                                  in database 0 its number is behind it: :events:<number>

The braces are literal: hash tags, so that what one script touches lies on one node of a Redis Cluster.
A session id becomes a key only after `SessionIds.shard_of` has verified it, or when this node minted it; a handle after
`Handles.read` has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mooring.core.handles import PREFIX

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

    @property
    def orders(self) -> str:
        return f"{self.prefix}:{{cluster}}:orders"

    def events_in(self, database: int) -> str:
        """The channel: no key, so that it is heard in all databases of a Redis, each of which may be a cluster's."""
        return f"{self.prefix}:{{cluster}}:events{f':{database}' if database else ''}"

    def place(self, key: str) -> str:
        return f"{self.prefix}:place:{{{key}}}"

    def mailbox(self, node_id: str) -> str:
        return f"{self.prefix}:mailbox:{{{node_id}}}"

    def session(self, session_id: str) -> str:
        kind = "handle" if session_id.startswith(PREFIX) else "session"
        return f"{self.prefix}:{kind}:{{{session_id}}}"

    def log(self, session_id: str) -> str:
        return f"{self.session(session_id)}:log"

    def calls(self, session_id: str) -> str:
        return f"{self.session(session_id)}:calls"

    def state(self, session_id: str) -> str:
        return f"{self.session(session_id)}:state"

    def carried(self, session_id: str) -> str:
        return f"{self.session(session_id)}:carried"

    def of_session(self, session_id: str) -> list[str]:
        """The record, and all that goes with it."""
        hanging = (self.log, self.calls, self.state, self.carried)
        return [self.session(session_id), *(key(session_id) for key in hanging)]

    def sessions(self, beginning: str = "") -> str:
        """A pattern for SCAN that matches the records of those whose ids begin so, and none of the keys that belong to
        them."""
        return f"{self.prefix}:session:{{{beginning}*}}"

    def session_id(self, key: str) -> str:
        """The session id in a record's key."""
        return key[len(self.prefix) + len(":session:{") : -1]
