"""The store of a single node: this process's memory, with the same promises as Redis but one: nobody shares it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeGuard

from mooring.core.handles import is_meant
from mooring.core.model import (
    CHANGES_PER_LIFE,
    NO_OWNER,
    Lease,
    NodeInfo,
    NodeState,
    SessionRecord,
    ShardOwner,
    Snapshot,
    Touch,
    Written,
    unknown_node,
)
from mooring.errors import DeclaredDead
from mooring.store.base import REMOVED_SECONDS
from mooring.store.memory_journal import MemoryJournal

_SWEEP_SECONDS: Final = 60.0
_MOST_PLACES: Final = 100_000
"""Clients say the keys; beyond these the one that was used longest ago is forgotten."""


class MemoryStore:
    """Leases, shard owners and session records in memory.

    Args:
        now: seconds, by the clock that leases are measured with.

    Attributes:
        journal: of these sessions.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._version = 0
        self._leases: dict[str, Lease] = {}
        self._shards: dict[str, ShardOwner] = {}
        # By key: the shard, and until when it is remembered; the one that was used last at the end.
        self._places: dict[str, tuple[str, int]] = {}
        # The operator's words for nodes, and how long they are kept.
        self._orders: dict[str, tuple[str, float]] = {}
        self._sessions: dict[str, tuple[SessionRecord, float]] = {}
        # When those are looked through whose time is over, and that nobody asks for.
        self._sweep_at = 0.0
        # The epoch that each record was removed at, and until when that is remembered; the oldest first.
        self._removed: dict[str, tuple[int, float]] = {}
        # After a silence of all nodes nobody adopts until then.
        self._grace_until_ms = 0
        self.journal = MemoryJournal(self._fence, now)

    async def register(self, node: NodeInfo, lease_seconds: float) -> int:
        if _is_final(self._leases.get(node.id)):
            raise DeclaredDead(f"node {node.id} left or was seen to end: it cannot come back by this id")
        now_ms, lease_ms = self._now_ms(), round(lease_seconds * 1000)
        if not any(map(self._is_alive, self._leases.values())) and not all(map(_has_ended, self._leases.values())):
            self._grace_until_ms = now_ms + lease_ms
        self._leases[node.id] = Lease(node, now_ms + lease_ms, now_ms)
        return now_ms

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known: Snapshot | None
    ) -> Snapshot | None:
        lease = self._leases.get(node.id)
        if lease is None or _is_final(lease) or _is_placeholder(lease) or lease.renewed_ms != renewed_ms:
            return None
        await self.register(node, lease_seconds)
        return await self.snapshot()

    async def look(self, node_id: str, renewed_ms: int, known: Snapshot | None) -> Snapshot:
        return await self.snapshot()

    async def extend(self, node_id: str, renewed_ms: int, lease_seconds: float) -> bool:
        lease = self._leases.get(node_id)
        if lease is None or not self._is_alive(lease) or lease.renewed_ms < renewed_ms:
            return False
        until_ms = max(lease.until_ms, self._now_ms() + round(lease_seconds * 1000))
        self._leases[node_id] = replace(lease, until_ms=until_ms)
        return True

    async def leave(self, node: NodeInfo) -> None:
        self._leases[node.id] = Lease(replace(node, state=NodeState.GONE), 0, self._now_ms())

    async def bury(self, node_id: str) -> bool:
        lease = self._leases.get(node_id)
        if lease is None:
            return False
        if not _is_final(lease):
            self._leases[node_id] = Lease(lease.node, 0, self._now_ms())
        return True

    async def order(self, node_id: str, word: str, keep_seconds: float) -> None:
        self._orders[node_id] = word, self._now() + keep_seconds

    async def order_for(self, node_id: str) -> str:
        word, until = self._orders.get(node_id, ("", 0.0))
        return word if self._now() < until else ""

    async def heard_order(self, node_id: str, word: str) -> None:
        if await self.order_for(node_id) in (word, ""):
            self._orders.pop(node_id, None)

    async def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        current = self._shards.get(shard, NO_OWNER)
        if current.epoch >= claimed.epoch or (current.node_id != claimed.node_id and current.epoch != expected_epoch):
            return current
        return self._own(shard, claimed)

    async def place(self, key: str, shard: str, ttl_ms: int) -> str:
        now_ms = self._now_ms()
        while self._places and (self._is_over(now_ms) or len(self._places) > _MOST_PLACES):
            del self._places[next(iter(self._places))]
        placed, until_ms = self._places.pop(key, (shard, 0))
        placed = placed if until_ms > now_ms else shard
        self._places[key] = (placed, now_ms + ttl_ms)
        return placed

    def _is_over(self, now_ms: int) -> bool:
        """Whether the place that was used longest ago is to be forgotten."""
        return next(iter(self._places.values()))[1] <= now_ms

    async def adopt(self, shard: str, node_id: str, expected_epoch: int) -> ShardOwner:
        owner = self._shards.get(shard, NO_OWNER)
        adopter = self._leases.get(node_id)
        if owner.epoch != expected_epoch or owner.node_id in ("", node_id) or not self._is_proven(adopter):
            return owner
        if owner.node_id not in self._leases:
            now_ms = self._now_ms()
            until_ms = now_ms + adopter.until_ms - adopter.renewed_ms
            self._leases[owner.node_id] = Lease(unknown_node(owner.node_id), until_ms, now_ms)
        lease = self._leases[owner.node_id]
        if self._is_alive(lease) or (self._now_ms() < self._grace_until_ms and not _has_ended(lease)):
            return owner
        return self._own(shard, ShardOwner(node_id, owner.epoch + 1))

    async def give(self, shard: str, giver: ShardOwner, receiver_id: str) -> ShardOwner:
        owner = self._shards.get(shard, NO_OWNER)
        if owner != giver or receiver_id == giver.node_id:
            return owner
        if all(self._is_proven(self._leases.get(node_id)) for node_id in (giver.node_id, receiver_id)):
            return self._own(shard, ShardOwner(receiver_id, owner.epoch + 1))
        return owner

    async def retire(self, shard: str, owner: ShardOwner) -> ShardOwner:
        if self._shards.get(shard) != owner:
            return self._shards.get(shard, NO_OWNER)
        del self._shards[shard]
        self._count_change()
        return NO_OWNER

    async def snapshot(self) -> Snapshot:
        now_ms = self._now_ms()
        leases = {node_id: replace(lease, is_over=lease.until_ms <= now_ms) for node_id, lease in self._leases.items()}
        return Snapshot(now_ms, self._version, leases, dict(self._shards))

    async def prune(self, older_than_seconds: float) -> int:
        now_ms = self._now_ms()
        oldest_ms = now_ms - older_than_seconds * 1000
        forgotten = [
            node_id
            for node_id, lease in self._leases.items()
            if lease.until_ms <= now_ms and lease.renewed_ms < oldest_ms
        ]
        for node_id in forgotten:
            del self._leases[node_id]
        kept = {shard: owner for shard, owner in self._shards.items() if owner.node_id not in forgotten}
        if len(kept) < len(self._shards):
            self._shards = kept
            self._count_change()
        return len(forgotten)

    async def save_session(self, record: SessionRecord, ttl_seconds: int) -> Written:
        current = await self.load_session(record.id)
        if record.epoch <= self._removed_at(record.id) or (current is not None and record.epoch < current.epoch):
            return Written.REFUSED
        self._removed.pop(record.id, None)
        self._sessions[record.id] = (record, self._now() + ttl_seconds)
        self._sweep()
        return Written.DONE

    def _sweep(self) -> None:
        now = self._now()
        if self._sweep_at <= now:
            self._sweep_at = now + _SWEEP_SECONDS
            for session_id in [name for name, (_, until) in self._sessions.items() if until <= now]:
                self._record(session_id)

    async def save_sessions(self, records: Iterable[SessionRecord], ttl_seconds: int) -> Mapping[str, Written]:
        written = {record.id: await self.save_session(record, ttl_seconds) for record in records}
        return _not_done(written)

    async def touch_sessions(self, touches: Iterable[Touch], ttl_seconds: int) -> Mapping[str, Written]:
        return _not_done({touch.session_id: await self._touch(touch, ttl_seconds) for touch in touches})

    async def _touch(self, touch: Touch, ttl_seconds: int) -> Written:
        record = await self.load_session(touch.session_id)
        if record is None:
            is_removed = touch.epoch <= self._removed_at(touch.session_id)
            return Written.REFUSED if is_removed else Written.MISSING
        return await self.save_session(replace(record, epoch=touch.epoch, last_seen=touch.last_seen), ttl_seconds)

    def _fence(self, session_id: str, epoch: int) -> Written:
        """Whether a writer of this epoch may write of the session; if so, its record takes the epoch."""
        record = self._record(session_id)
        if record is None:
            return Written.REFUSED if epoch <= self._removed_at(session_id) else Written.MISSING
        if epoch < record.epoch:
            return Written.REFUSED
        self._sessions[session_id] = (replace(record, epoch=epoch), self._sessions[session_id][1])
        return Written.DONE

    async def load_session(self, session_id: str) -> SessionRecord | None:
        return self._record(session_id)

    def _record(self, session_id: str) -> SessionRecord | None:
        record, until = self._sessions.get(session_id, (None, 0.0))
        if record is not None and until <= self._now():
            del self._sessions[session_id]
            self.journal.forget_session(session_id)
            return None
        return record

    async def delete_session(self, session_id: str, epoch: int) -> Written:
        record = await self.load_session(session_id)
        if record is not None and epoch < record.epoch:
            return Written.REFUSED
        self.journal.forget_session(session_id)
        if epoch > self._removed_at(session_id):
            self._removed.pop(session_id, None)
            self._removed[session_id] = (epoch, self._now() + REMOVED_SECONDS)
        return Written.MISSING if self._sessions.pop(session_id, None) is None else Written.DONE

    async def sessions(self, beginning: str = "") -> AsyncIterator[SessionRecord]:
        for session_id in [name for name in self._sessions if name.startswith(beginning) and not is_meant(name)]:
            record = await self.load_session(session_id)
            if record is not None:
                yield record

    async def session_starts(self) -> AsyncIterator[tuple[str, float]]:
        async for record in self.sessions():
            yield record.id, record.created

    async def aclose(self) -> None:
        pass

    def _removed_at(self, session_id: str) -> int:
        """The epoch that the record was removed at; -1 where it was not, or long ago."""
        while self._removed and next(iter(self._removed.values()))[1] <= self._now():
            del self._removed[next(iter(self._removed))]
        return self._removed.get(session_id, (-1, 0.0))[0]

    def _is_alive(self, lease: Lease) -> bool:
        return lease.until_ms > self._now_ms() and lease.node.state is not NodeState.GONE

    def _is_proven(self, lease: Lease | None) -> TypeGuard[Lease]:
        """Whether a node renewed its lease itself, and it is alive."""
        return lease is not None and self._is_alive(lease) and not _is_placeholder(lease)

    def _own(self, shard: str, owner: ShardOwner) -> ShardOwner:
        self._shards[shard] = owner
        self._count_change()
        return owner

    def _count_change(self) -> None:
        self._version = (self._version or int(self._now()) * CHANGES_PER_LIFE) + 1

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _is_final(lease: Lease | None) -> bool:
    """Whether the node said goodbye or was seen to end."""
    return lease is not None and lease.until_ms == 0


def _has_ended(lease: Lease) -> bool:
    """Whether its end is on record."""
    return _is_final(lease) or lease.node.state is NodeState.GONE


def _is_placeholder(lease: Lease) -> bool:
    """Whether it stands for a node whose entry was lost (see `adopt`)."""
    return lease.node.state is NodeState.UNKNOWN


def _not_done(written: Mapping[str, Written]) -> Mapping[str, Written]:
    return {session_id: what for session_id, what in written.items() if what is not Written.DONE}
