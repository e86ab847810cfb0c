"""The store in Redis 7 or Valkey, through redis-py; Lua scripts beside this file, keys in `keys.py`.

Two connections, each a `Lane`: leases and owners have one to themselves, so that thousands of session records on their
way never delay a heartbeat.

Both lead to the same server: where one of them meets another primary, or none, the other connects anew as well.

The client does not retry: a broken connection is reported at once, because whoever holds sessions wants to know that
the store may have lost something in between.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

from mooring.core.masking import masked
from mooring.core.model import (
    NO_OWNER,
    Lease,
    NodeInfo,
    NodeState,
    SessionRecord,
    ShardOwner,
    Snapshot,
    Touch,
    Written,
)
from mooring.core.sealing import Seals
from mooring.errors import DeclaredDead, SettingsError, StoreUnavailable
from mooring.store import codec
from mooring.store.base import REMOVED_SECONDS
from mooring.store.clients import client_of, try_out
from mooring.store.cluster_watch import ClusterWatch
from mooring.store.keys import Keys
from mooring.store.lane import Command, Lane, script
from mooring.store.primary import PrimaryWatch
from mooring.store.redis_journal import RedisJournal
from mooring.store.sealed import seal_field, unseal_field
from mooring.store.trouble import explain

logger = logging.getLogger("mooring.store")


class RedisStore:
    """Leases, shard owners and session records in Redis.

    Args:
        url: see `mooring.store.clients`.
        prefix: of every key.
        timeout_seconds: how long Redis may take for one answer.
        seals: of what sessions' clients said; without them no record is written, and that part of one not read.
    """

    def __init__(self, url: str, prefix: str, timeout_seconds: float, seals: Seals | None = None) -> None:
        self._url = url
        self._keys = Keys(prefix)
        self._asked_for_policy = False
        # Leases and owners; then everything that there may be thousands of.
        clients = [_client(url, timeout_seconds) for _ in range(2)]
        self._leases, self._sessions = (Lane(client, self._explain, self._connect_anew) for client in clients)
        self._primary = PrimaryWatch(clients, self._may_have_lost)
        self._cluster = ClusterWatch(_client(url, timeout_seconds), self._may_have_lost)
        # Whether a server that answers may lack what was written to it, or to the one before it, with no error since.
        self._has_lost = False
        self._seals = seals

    @property
    def journal(self) -> RedisJournal:
        """
        Raises:
            SettingsError: there is no secret, to seal with.
        """
        return RedisJournal(self._sessions, self._keys, self._sealing())

    async def register(self, node: NodeInfo, lease_seconds: float) -> int:
        lease_ms = round(lease_seconds * 1000)
        renewed = await self._lease("register", "registering this node", [node.id, lease_ms, codec.encode_node(node)])
        if not renewed:
            raise DeclaredDead(f"node {node.id} left or was seen to end: it cannot come back by this id")
        if not self._asked_for_policy:
            self._asked_for_policy = True
            await self._warn_of_evictions()
        return int(renewed)

    async def _warn_of_evictions(self) -> None:
        try:
            policy = (await self._lease("policy", "asking for its maxmemory-policy", [])).decode()
        except StoreUnavailable:
            return  # not everybody may ask; then nobody is warned
        if policy not in ("", "noeviction"):
            logger.warning(
                "Redis at %s may drop %s when its memory is short: set its maxmemory-policy to noeviction, not %s",
                masked(self._url),
                "leases and sessions" if policy.startswith("allkeys") else "sessions",
                policy,
            )

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known: Snapshot | None
    ) -> Snapshot | None:
        self._cluster.glance()
        if self._has_lost:
            self._has_lost = False
            return None
        lease_ms = round(lease_seconds * 1000)
        before = known.leases.get(node.id) if known is not None else None
        says = "" if before is not None and before.node == node else codec.encode_node(node)
        args = [node.id, lease_ms, says, renewed_ms, _mark(known)]
        answer = await self._lease("heartbeat", "renewing the lease", args)
        if not answer:
            self._connect_anew()  # it lacks what the primary was told: what else is sent must not go to another server
            return None
        changes = codec.decode_changes(answer)
        mine = Lease(node, changes.now_ms + lease_ms, changes.now_ms)
        return replace(changes, leases={**changes.leases, node.id: mine}).since(known)

    async def look(self, node_id: str, renewed_ms: int, known: Snapshot | None) -> Snapshot:
        args = [node_id, renewed_ms, _mark(known)]
        changes = codec.decode_changes(await self._lease("look", "reading the nodes and shards", args))
        return changes.since(known)

    async def extend(self, node_id: str, renewed_ms: int, lease_seconds: float) -> bool:
        args = [node_id, renewed_ms, round(lease_seconds * 1000)]
        return bool(await self._lease("extend", "lengthening the lease", args))

    async def leave(self, node: NodeInfo) -> None:
        gone = codec.encode_node(replace(node, state=NodeState.GONE))
        await self._lease("leave", "saying goodbye", [node.id, gone])

    async def bury(self, node_id: str) -> bool:
        return bool(await self._lease("bury", "recording the end of a node", [node_id]))

    async def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        args = [shard, claimed.node_id, claimed.epoch, expected_epoch]
        return _owner(shard, await self._lease("claim", "claiming a shard", args))

    async def adopt(self, shard: str, node_id: str, expected_epoch: int) -> ShardOwner:
        return _owner(shard, await self._lease("adopt", "adopting a shard", [shard, node_id, expected_epoch]))

    async def give(self, shard: str, giver: ShardOwner, receiver_id: str) -> ShardOwner:
        args = [shard, giver.node_id, giver.epoch, receiver_id]
        return _owner(shard, await self._lease("give", "giving a shard to a peer", args))

    async def retire(self, shard: str, owner: ShardOwner) -> ShardOwner:
        args = [shard, owner.node_id, owner.epoch]
        return _owner(shard, await self._lease("retire", "letting a shard go", args))

    async def order(self, node_id: str, word: str, keep_seconds: float) -> None:
        await self._order("order", "leaving a word for a node", [node_id, word, round(keep_seconds * 1000)])

    async def order_for(self, node_id: str) -> str:
        command = Command(("HGET", self._keys.orders, node_id))
        word: bytes | None = await self._leases.ask("reading the word for this node", command)
        return "" if word is None else word.decode(errors="replace")

    async def heard_order(self, node_id: str, word: str) -> None:
        await self._order("heard_order", "forgetting the word for this node", [node_id, word])

    async def snapshot(self) -> Snapshot:
        answer = await self._lease("snapshot", "reading the nodes and shards", [])
        return codec.decode_changes(answer).since(None)

    async def prune(self, older_than_seconds: float) -> int:
        return int(await self._lease("prune", "forgetting dead nodes", [round(older_than_seconds * 1000)]))

    async def save_session(self, record: SessionRecord, ttl_seconds: int) -> Written:
        return (await self.save_sessions([record], ttl_seconds)).get(record.id, Written.DONE)

    async def save_sessions(self, records: Iterable[SessionRecord], ttl_seconds: int) -> Mapping[str, Written]:
        seals = self._sealing()
        writes = ((r.id, [r.epoch, ttl_seconds, *_fields(r, seals)]) for r in records)
        return await self._write("save", "writing a session's record", writes)

    async def touch_sessions(self, touches: Iterable[Touch], ttl_seconds: int) -> Mapping[str, Written]:
        writes = ((t.session_id, [t.epoch, t.last_seen, ttl_seconds]) for t in touches)
        return await self._write("touch", "renewing a session's record", writes)

    async def load_session(self, session_id: str) -> SessionRecord | None:
        command = Command(("HGETALL", self._keys.session(session_id)))
        entry = await self._sessions.ask("reading a session's record", command)
        return self._record(session_id, entry)

    async def delete_session(self, session_id: str, epoch: int) -> Written:
        command = script("delete").on(self._keys.of_session(session_id), [epoch, REMOVED_SECONDS])
        return Written(await self._sessions.ask("removing a session's record", command))

    async def place(self, key: str, shard: str, ttl_ms: int) -> str:
        command = script("place").on([self._keys.place(key)], [shard, ttl_ms])
        placed: bytes = await self._sessions.ask("placing a conversation", command)
        return placed.decode(errors="replace")

    async def sessions(self, beginning: str = "") -> AsyncIterator[SessionRecord]:
        async for session_id, entry in self._of_each_session(beginning, "HGETALL"):
            record = self._record(session_id, entry)
            if record is not None:
                yield record

    async def session_starts(self) -> AsyncIterator[tuple[str, float]]:
        async for session_id, created in self._of_each_session("", "HGET", "created"):
            moment = codec.decode_moment(created)
            if moment is not None:
                yield session_id, moment

    async def _of_each_session(self, beginning: str, command: str, *args: str) -> AsyncIterator[tuple[str, Any]]:
        """What a command says of each record."""
        doing = "listing the sessions"
        async for keys in self._sessions.scan(doing, self._keys.sessions(beginning)):
            answers = await self._sessions.ask_all(doing, (Command((command, key, *args)) for key in keys))
            for key, answer in zip(keys, answers, strict=True):
                yield self._keys.session_id(key.decode()), answer

    async def aclose(self) -> None:
        await self._primary.aclose()
        await self._cluster.aclose()
        await self._leases.aclose()
        await self._sessions.aclose()

    async def _lease(self, name: str, doing: str, args: list[Any]) -> Any:
        """Run a script on nodes and shards."""
        self._primary.glance()
        return await self._leases.ask(doing, script(name, "changes").on(self._keys.cluster, args))

    async def _order(self, name: str, doing: str, args: list[Any]) -> Any:
        return await self._leases.ask(doing, script(name).on([self._keys.orders], args))

    async def _write(self, name: str, doing: str, writes: Iterable[tuple[str, list[Any]]]) -> Mapping[str, Written]:
        """Run a script once for each session; answers what was not done."""
        commands = (
            (session_id, script(name).on([self._keys.session(session_id), self._keys.state(session_id)], args))
            for session_id, args in writes
        )
        return await self._sessions.write_all(doing, commands)

    def _record(self, session_id: str, entry: Mapping[bytes, bytes]) -> SessionRecord | None:
        opened = {
            name: unseal_field(self._seals, name.decode(errors="replace"), value, session_id)
            for name, value in entry.items()
        }
        return codec.decode_session(session_id, opened)

    def _sealing(self) -> Seals:
        if self._seals is None:
            raise SettingsError("secret", None, "needed for what is kept of sessions, the same on every node")
        return self._seals

    def _may_have_lost(self) -> None:
        self._has_lost = True
        self._connect_anew()

    def _connect_anew(self) -> None:
        self._leases.connect_anew()
        self._sessions.connect_anew()

    def _explain(self, error: Exception, doing: str) -> StoreUnavailable:
        return explain(error, masked(self._url), doing)


def _client(url: str, timeout_seconds: float) -> Any:
    try:
        client = client_of(url, timeout_seconds)
        try_out(client)
        return client
    except ValueError as error:
        raise SettingsError("redis_url", masked(url), str(error)) from error


def _mark(known: Snapshot | None) -> str:
    return known.mark if known is not None else ""


def _fields(record: SessionRecord, seals: Seals) -> list[Any]:
    fields = codec.encode_session(record).items()
    return [part for name, value in fields for part in (name, seal_field(seals, name, value, record.id))]


def _owner(shard: str, answer: bytes) -> ShardOwner:
    return (codec.decode_owner(shard, answer.decode()) if answer else None) or NO_OWNER
