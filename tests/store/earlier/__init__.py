"""Nodes of the release before changes were numbered: its scripts, as they were, on the two keys that they know."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from mooring.core.model import NodeInfo, Snapshot
from mooring.store import RedisStore, codec
from mooring.store.lane import Script

_HERE = Path(__file__).parent


class EarlierStore(RedisStore):
    """The store as a node of that release sees it: whole answers alone."""

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known: Snapshot | None
    ) -> Snapshot | None:
        args = [node.id, round(lease_seconds * 1000), codec.encode_node(node), renewed_ms, -1]
        answer = await self._lease("heartbeat", "renewing the lease", args)
        return _whole(answer) if answer else None

    async def look(self, node_id: str, renewed_ms: int, known: Snapshot | None) -> Snapshot:
        return await self.snapshot()

    async def snapshot(self) -> Snapshot:
        return _whole(await self._lease("snapshot", "reading the nodes and shards", []))

    async def _lease(self, script: str, doing: str, args: list[Any]) -> Any:
        return await self._leases.ask(doing, _script(script).on([self._keys.nodes, self._keys.shards], args))


def _whole(answer: list[Any]) -> Snapshot:
    now_ms, version, nodes, shards = answer
    return codec.decode_changes([now_ms, version, b"", 1, nodes, 1, shards]).since(None)


@functools.cache
def _script(name: str) -> Script:
    return Script.of("".join((_HERE / f"{part}.lua").read_text(encoding="utf-8") for part in ("shared", name)))
