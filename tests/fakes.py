"""Stand-ins for time and for faults, in tests of what is decided and done about them: no real Redis is ever faked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from mooring.core.model import CHANGES_PER_LIFE, NodeInfo, SessionRecord, ShardOwner, Snapshot, Touch, Written
from mooring.errors import StoreUnavailable
from mooring.store import MemoryStore, Store
from mooring.store.journal import Call, Calls, Entries, LogEntry, SettledCall, StateChange

_T = TypeVar("_T")


class Clock:
    """Seconds that pass only where the test says so. Call it for the time."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class SteppedTime(Clock):
    """A clock with a sleep that ends when the test has let that much time pass."""

    def __init__(self, now: float = 1_000.0) -> None:
        super().__init__(now)
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self._sleepers.append((self.now + seconds, woken))
        await woken.wait()

    async def turns(self, count: int = 20) -> None:
        """Let everybody go on who does not sleep."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def passes(self, seconds: float) -> None:
        """Time passes, and each sleeper wakes in its turn."""
        await self.turns()
        end = self.now + seconds
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= end]:
            first = min(due, key=lambda sleeper: sleeper[0])
            self._sleepers.remove(first)
            self.now = max(self.now, first[0])
            first[1].set()
            await self.turns()
        self.now = end


async def old_store() -> MemoryStore:
    """One that was first filled long ago."""
    store = MemoryStore()
    await store.claim("first", ShardOwner("somebody", 1), 0)
    store._version = CHANGES_PER_LIFE
    return store


class FlakyStore:
    """A store that can be away, slow, or gone between its deed and its answer; it knows what it was asked.

    Attributes:
        away: every call raises `StoreUnavailable`.
        takes: how many more calls it takes before it is away; None for no end.
        before: by the name of a call, what happens once, before the next such call has its effect.
        after: the same, after the effect and before the answer is there.
        calls: the names of the calls that it took.
    """

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.away = False
        self.takes: int | None = None
        self.before: dict[str, Callable[[], Awaitable[object]]] = {}
        self.after: dict[str, Callable[[], Awaitable[object]]] = {}
        self.calls: list[str] = []

    @property
    def journal(self) -> FlakyJournal:
        return FlakyJournal(self)

    async def _through(self, name: str, call: Coroutine[Any, Any, _T]) -> _T:
        if self.takes is not None:
            self.away = self.away or self.takes == 0
            self.takes -= 1
        if self.away:
            call.close()
            raise _away()
        self.calls.append(name)
        try:
            if name in self.before:
                await self.before.pop(name)()
            answer = await call
        finally:
            call.close()
        if name in self.after:
            await self.after.pop(name)()
        return answer

    async def register(self, node: NodeInfo, lease_seconds: float) -> int:
        return await self._through("register", self.inner.register(node, lease_seconds))

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known: Snapshot | None
    ) -> Snapshot | None:
        return await self._through("heartbeat", self.inner.heartbeat(node, lease_seconds, renewed_ms, known))

    async def look(self, node_id: str, renewed_ms: int, known: Snapshot | None) -> Snapshot:
        return await self._through("look", self.inner.look(node_id, renewed_ms, known))

    async def extend(self, node_id: str, renewed_ms: int, lease_seconds: float) -> bool:
        return await self._through("extend", self.inner.extend(node_id, renewed_ms, lease_seconds))

    async def leave(self, node: NodeInfo) -> None:
        await self._through("leave", self.inner.leave(node))

    async def bury(self, node_id: str) -> bool:
        return await self._through("bury", self.inner.bury(node_id))

    async def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        return await self._through("claim", self.inner.claim(shard, claimed, expected_epoch))

    async def place(self, key: str, shard: str, ttl_ms: int) -> str:
        return await self._through("place", self.inner.place(key, shard, ttl_ms))

    async def adopt(self, shard: str, node_id: str, expected_epoch: int) -> ShardOwner:
        return await self._through("adopt", self.inner.adopt(shard, node_id, expected_epoch))

    async def give(self, shard: str, giver: ShardOwner, receiver_id: str) -> ShardOwner:
        return await self._through("give", self.inner.give(shard, giver, receiver_id))

    async def retire(self, shard: str, owner: ShardOwner) -> ShardOwner:
        return await self._through("retire", self.inner.retire(shard, owner))

    async def order(self, node_id: str, word: str, keep_seconds: float) -> None:
        await self._through("order", self.inner.order(node_id, word, keep_seconds))

    async def order_for(self, node_id: str) -> str:
        return await self._through("order_for", self.inner.order_for(node_id))

    async def heard_order(self, node_id: str, word: str) -> None:
        await self._through("heard_order", self.inner.heard_order(node_id, word))

    async def snapshot(self) -> Snapshot:
        return await self._through("snapshot", self.inner.snapshot())

    async def prune(self, older_than_seconds: float) -> int:
        return await self._through("prune", self.inner.prune(older_than_seconds))

    async def save_session(self, record: SessionRecord, ttl_seconds: int) -> Written:
        return await self._through("save_session", self.inner.save_session(record, ttl_seconds))

    async def save_sessions(self, records: Iterable[SessionRecord], ttl_seconds: int) -> Mapping[str, Written]:
        batch = list(records)
        if not batch:
            return {}
        return await self._through("save_sessions", self.inner.save_sessions(batch, ttl_seconds))

    async def touch_sessions(self, touches: Iterable[Touch], ttl_seconds: int) -> Mapping[str, Written]:
        return await self._through("touch_sessions", self.inner.touch_sessions(touches, ttl_seconds))

    async def load_session(self, session_id: str) -> SessionRecord | None:
        return await self._through("load_session", self.inner.load_session(session_id))

    async def delete_session(self, session_id: str, epoch: int) -> Written:
        return await self._through("delete_session", self.inner.delete_session(session_id, epoch))

    async def sessions(self, beginning: str = "") -> AsyncIterator[SessionRecord]:
        if self.away:
            raise _away()
        async for record in self.inner.sessions(beginning):
            yield record

    async def session_starts(self) -> AsyncIterator[tuple[str, float]]:
        if self.away:
            raise _away()
        async for start in self.inner.session_starts():
            yield start

    async def aclose(self) -> None:
        await self.inner.aclose()


class FlakyJournal:
    """The journal of such a store: away and slow as that is."""

    def __init__(self, store: FlakyStore) -> None:
        self._inner = store.inner.journal
        self._through = store._through

    async def append(self, session_id: str, epoch: int, entries: Collection[LogEntry], ttl_seconds: float) -> Written:
        return await self._through("append", self._inner.append(session_id, epoch, entries, ttl_seconds))

    async def append_all(self, writes: Iterable[Entries], ttl_seconds: float) -> Mapping[str, Written]:
        return await self._through("append_all", self._inner.append_all(writes, ttl_seconds))

    async def read(self, session_id: str, stream: str) -> list[LogEntry]:
        return await self._through("read", self._inner.read(session_id, stream))

    async def note_calls(self, session_id: str, epoch: int, calls: Collection[Call], ttl_seconds: float) -> Written:
        return await self._through("note_calls", self._inner.note_calls(session_id, epoch, calls, ttl_seconds))

    async def note_all(self, writes: Iterable[Calls], ttl_seconds: float) -> Mapping[str, Written]:
        return await self._through("note_all", self._inner.note_all(writes, ttl_seconds))

    async def calls(self, session_id: str) -> list[Call | SettledCall]:
        return await self._through("calls", self._inner.calls(session_id))

    async def settle(self, session_id: str, epoch: int, stream: str, outcome: bytes, ttl_seconds: float) -> bytes:
        return await self._through("settle", self._inner.settle(session_id, epoch, stream, outcome, ttl_seconds))

    async def carry(self, session_id: str, epoch: int, incarnation: int, data: bytes, ttl_seconds: int) -> Written:
        return await self._through("carry", self._inner.carry(session_id, epoch, incarnation, data, ttl_seconds))

    async def carried(self, session_id: str) -> tuple[int, bytes] | None:
        return await self._through("carried", self._inner.carried(session_id))

    async def commit(
        self, session_id: str, epoch: int, change: StateChange, ttl_seconds: float, state_ttl_seconds: int
    ) -> bytes:
        return await self._through(
            "commit", self._inner.commit(session_id, epoch, change, ttl_seconds, state_ttl_seconds)
        )

    async def load_state(self, session_id: str) -> tuple[bytes | None, int]:
        return await self._through("load_state", self._inner.load_state(session_id))

    async def forget(self, session_id: str, epoch: int, streams: Collection[str]) -> Written:
        return await self._through("forget", self._inner.forget(session_id, epoch, streams))


def _away() -> StoreUnavailable:
    return StoreUnavailable("away, as the test wants it")


def store_that_is_away() -> FlakyStore:
    """A store that does not answer anything."""
    store = FlakyStore(MemoryStore())
    store.away = True
    return store
