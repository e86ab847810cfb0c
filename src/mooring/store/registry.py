"""The read side of the store: what an operator, an ingress or a server's author asks of the cluster.

`Registry` answers once; `watch` follows the nodes as they come and go, through a store that is away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord
from mooring.core.ownership import ClusterView, advance
from mooring.errors import StoreUnavailable
from mooring.store.base import Store

logger = logging.getLogger("mooring.registry")

DEAD = "dead"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node for an operator's eyes.

    Attributes:
        state: a `NodeState`, or `dead` where the lease ended without a goodbye.
        lease_age_seconds: time since the lease was last renewed, by the store's clock.
    """

    info: NodeInfo
    state: str
    shards: list[str]
    lease_age_seconds: float

    @property
    def counters(self) -> Counters:
        return self.info.counters


class Registry:
    """Answers about nodes and sessions, read from the store at each call.

    All methods raise `StoreUnavailable` when the store does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def nodes(self) -> list[NodeStatus]:
        """Every node that the store knows, dead ones too, by name and age."""
        snapshot = await self._store.snapshot()
        shards: dict[str, list[str]] = {}
        for shard, owner in sorted((snapshot.shards or {}).items()):
            shards.setdefault(owner.node_id, []).append(shard)
        return [
            NodeStatus(
                info=lease.node,
                state=_state(lease.node, lease.until_ms > snapshot.now_ms),
                shards=shards.get(lease.node.id, []),
                lease_age_seconds=max(0.0, (snapshot.now_ms - lease.renewed_ms) / 1000),
            )
            for lease in sorted(snapshot.leases.values(), key=lambda lease: (lease.node.name, lease.node.started))
        ]

    async def session(self, session_id: str) -> SessionRecord | None:
        """The record of one session, whichever node it lives on; None where nobody knows it."""
        return await self._store.load_session(session_id)

    async def sessions(self) -> list[SessionRecord]:
        """Every session on record, the oldest first. Reads them all: for an operator, not for a request."""
        records = [record async for record in self._store.sessions()]
        return sorted(records, key=lambda record: (record.created, record.id))


def _state(info: NodeInfo, lease_is_alive: bool) -> str:
    return str(info.state) if lease_is_alive or info.state is NodeState.GONE else DEAD


async def watch(
    store: Store,
    *,
    every_seconds: float,
    grace_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    now: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[ClusterView]:
    """The cluster as it changes: a first view, then one after each look at the store.

    While the store is away the last view stands, and for `grace_seconds` after it came back nodes that were alive
    stay so (see `mooring.core.ownership`). The caller compares what it cares about; views may repeat.
    """
    view = ClusterView()
    grace_until = -1.0
    away = False
    while True:
        try:
            snapshot = await store.snapshot()
        except StoreUnavailable as error:
            if not away:
                logger.warning("the registry is away, the last known nodes stand: %s", error)
            away = True
        else:
            lost_something = bool(view.nodes) and snapshot.version < view.version
            if away or lost_something:
                grace_until = now() + grace_seconds
                away = False
            view = advance(view, snapshot, in_grace=now() < grace_until)
            yield view
        await sleep(every_seconds)
