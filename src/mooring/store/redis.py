"""The store in Redis 7 or Valkey, through redis-py; Lua scripts beside this file, keys in `keys.py`.

The client does not retry: a broken connection is reported at once, because whoever holds sessions wants to know that
the store may have lost something in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from itertools import islice
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from mooring.core.masking import masked
from mooring.core.model import NO_OWNER, Lease, NodeInfo, NodeState, SessionRecord, ShardOwner, Snapshot, Touch, Written
from mooring.errors import DeclaredDead, SettingsError, StoreUnavailable
from mooring.store import codec
from mooring.store.base import REMOVED_SECONDS
from mooring.store.keys import VERSION_FIELD, Keys

_T = TypeVar("_T")
_BATCH: Final = 200
"""Sessions in one pipeline: some 200 KiB, well below what would hold up other clients of the same Redis."""


class RedisStore:
    """Leases, shard owners and session records in Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        prefix: of every key.
        timeout_seconds: how long Redis may take for one answer.
    """

    def __init__(self, url: str, prefix: str, timeout_seconds: float) -> None:
        self._url = url
        self._keys = Keys(prefix)
        try:
            self._redis: Any = Redis.from_url(
                url,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                retry=Retry(NoBackoff(), 0),
                client_name="mooring",
            )
        except ValueError as error:
            raise SettingsError("redis_url", masked(url), str(error)) from error
        self._scripts = {name: self._redis.register_script(_lua(name)) for name in _SCRIPTS}

    async def register(self, node: NodeInfo, lease_seconds: float) -> int:
        lease_ms = round(lease_seconds * 1000)
        renewed = await self._run("register", [self._keys.nodes], [node.id, lease_ms, codec.encode_node(node)])
        if not renewed:
            raise DeclaredDead(f"node {node.id} left or was seen to end: it cannot come back by this id")
        return int(renewed)

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known_version: int
    ) -> Snapshot | None:
        answer = await self._run(
            "heartbeat",
            [self._keys.nodes, self._keys.shards],
            [node.id, round(lease_seconds * 1000), codec.encode_node(node), renewed_ms, known_version],
        )
        if not answer:
            return None
        return _snapshot(answer, knows_shards=int(answer[1]) == known_version)

    async def leave(self, node: NodeInfo) -> None:
        gone = codec.encode_node(replace(node, state=NodeState.GONE))
        await self._run("leave", [self._keys.nodes], [node.id, gone])

    async def bury(self, node_id: str) -> bool:
        return bool(await self._run("bury", [self._keys.nodes], [node_id]))

    async def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        return await self._move("claim", [self._keys.shards], shard, claimed.node_id, claimed.epoch, expected_epoch)

    async def adopt(self, shard: str, node_id: str, expected_epoch: int) -> ShardOwner:
        return await self._move("adopt", [self._keys.nodes, self._keys.shards], shard, node_id, expected_epoch)

    async def give(self, shard: str, giver: ShardOwner, receiver_id: str) -> ShardOwner:
        keys = [self._keys.nodes, self._keys.shards]
        return await self._move("give", keys, shard, giver.node_id, giver.epoch, receiver_id)

    async def _move(self, script: str, keys: list[str], shard: str, *args: Any) -> ShardOwner:
        answer: bytes = await self._run(script, keys, [shard, *args])
        return (codec.decode_owner(shard, answer.decode()) if answer else None) or NO_OWNER

    async def snapshot(self) -> Snapshot:
        return _snapshot(await self._run("snapshot", [self._keys.nodes, self._keys.shards], []), knows_shards=False)

    async def prune(self, older_than_seconds: float) -> int:
        keys = [self._keys.nodes, self._keys.shards]
        return int(await self._run("prune", keys, [round(older_than_seconds * 1000)]))

    async def save_session(self, record: SessionRecord, ttl_seconds: int) -> Written:
        return (await self.save_sessions([record], ttl_seconds)).get(record.id, Written.DONE)

    async def save_sessions(self, records: Iterable[SessionRecord], ttl_seconds: int) -> Mapping[str, Written]:
        return await self._write("save", ((r.id, [r.epoch, ttl_seconds, *_fields(r)]) for r in records))

    async def touch_sessions(self, touches: Iterable[Touch], ttl_seconds: int) -> Mapping[str, Written]:
        return await self._write("touch", ((t.session_id, [t.epoch, t.last_seen, ttl_seconds]) for t in touches))

    async def _write(self, script: str, writes: Iterable[tuple[str, list[Any]]]) -> Mapping[str, Written]:
        """Run the script once for each session; answers what was not done."""
        not_done: dict[str, Written] = {}
        for batch in _batches(writes):
            pipeline = self._redis.pipeline(transaction=False)
            for session_id, args in batch:
                await self._scripts[script](keys=[self._keys.session(session_id)], args=args, client=pipeline)
            for (session_id, _), answer in zip(batch, await self._ask(pipeline.execute()), strict=True):
                if Written(answer) is not Written.DONE:
                    not_done[session_id] = Written(answer)
        return not_done

    async def load_session(self, session_id: str) -> SessionRecord | None:
        entry = await self._ask(self._redis.hgetall(self._keys.session(session_id)))
        return codec.decode_session(session_id, entry)

    async def delete_session(self, session_id: str, epoch: int) -> Written:
        return Written(await self._run("delete", [self._keys.session(session_id)], [epoch, REMOVED_SECONDS]))

    async def sessions(self) -> AsyncIterator[SessionRecord]:
        cursor = 0
        while True:
            cursor, keys = await self._ask(self._redis.scan(cursor, match=self._keys.every_session, count=500))
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            for key, entry in zip(keys, await self._ask(pipeline.execute()), strict=True):
                record = codec.decode_session(self._keys.session_id(key.decode()), entry)
                if record is not None:
                    yield record
            if cursor == 0:
                return

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        return await self._ask(self._scripts[script](keys=keys, args=args))

    async def _ask(self, answer: Awaitable[_T]) -> _T:
        task = asyncio.current_task()
        asked_to_end = 0 if task is None else task.cancelling()
        try:
            answered = await answer
        except (RedisError, OSError, TimeoutError) as error:
            said = str(error) or type(error).__name__
            raise StoreUnavailable(f"Redis at {masked(self._url)} does not answer: {said}") from error
        if task is not None and task.cancelling() > asked_to_end:
            # redis-py's timeout is `asyncio.wait_for`, which in Python 3.11 loses a cancel that comes as it finishes.
            raise asyncio.CancelledError
        return answered


_SCRIPTS: Final = (
    "register",
    "heartbeat",
    "leave",
    "bury",
    "claim",
    "adopt",
    "give",
    "snapshot",
    "prune",
    "save",
    "touch",
    "delete",
)


def _lua(name: str) -> str:
    folder = files("mooring.store") / "lua"
    return "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("shared", name))


def _fields(record: SessionRecord) -> list[Any]:
    return [part for field in codec.encode_session(record).items() for part in field]


def _batches(items: Iterable[_T]) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _snapshot(answer: list[Any], *, knows_shards: bool) -> Snapshot:
    now_ms, version, nodes, shards = answer
    leases: dict[str, Lease] = {}
    for node_id, text in _pairs(nodes):
        lease = codec.decode_lease(node_id, text)
        if lease is not None:
            leases[node_id] = lease
    owners: dict[str, ShardOwner] = {}
    for shard, text in _pairs(shards):
        owner = None if shard == VERSION_FIELD else codec.decode_owner(shard, text)
        if owner is not None:
            owners[shard] = owner
    return Snapshot(int(now_ms), int(version), leases, None if knows_shards else owners)


def _pairs(flat: list[bytes] | dict[bytes, bytes]) -> Iterator[tuple[str, str]]:
    """The fields of a hash as a script returns it: a flat list in RESP2, perhaps a map in RESP3."""
    items = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    for name, value in items:
        yield name.decode(errors="replace"), value.decode(errors="replace")
