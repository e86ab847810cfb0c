"""Stand-ins for time and for faults, in tests of what is decided and done about them: no real Redis is ever faked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from mooring.core.model import NodeInfo, SessionRecord, ShardOwner, Snapshot, Touch, Written
from mooring.errors import StoreUnavailable
from mooring.store import MemoryStore, Store

_T = TypeVar("_T")


class Clock:
    """Seconds that pass only where the test says so. Call it for the time."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


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

    async def adopt(self, shard: str, node_id: str, expected_epoch: int) -> ShardOwner:
        return await self._through("adopt", self.inner.adopt(shard, node_id, expected_epoch))

    async def give(self, shard: str, giver: ShardOwner, receiver_id: str) -> ShardOwner:
        return await self._through("give", self.inner.give(shard, giver, receiver_id))

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

    async def sessions(self) -> AsyncIterator[SessionRecord]:
        if self.away:
            raise _away()
        async for record in self.inner.sessions():
            yield record

    async def aclose(self) -> None:
        await self.inner.aclose()


def _away() -> StoreUnavailable:
    return StoreUnavailable("away, as the test wants it")


def store_that_is_away() -> FlakyStore:
    """A store that does not answer anything."""
    store = FlakyStore(MemoryStore())
    store.away = True
    return store
