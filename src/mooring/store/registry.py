"""The read side of the store: what an operator, an ingress or a server's author asks of the cluster.

`Registry` answers once; `watch` follows the nodes as they come and go, even while the store is away.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from mooring.core.model import Counters, NodeInfo, NodeState, SessionRecord
from mooring.core.observer import Observer
from mooring.core.ownership import ClusterView
from mooring.errors import StoreUnavailable
from mooring.store.base import Store
from mooring.store.journal import Call

logger = logging.getLogger("mooring.registry")

DEAD: Final = "dead"
OVER: Final = frozenset({DEAD, str(NodeState.GONE)})
"""The states of a node that is no longer there."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node, as an operator sees it.

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
        for shard, owner in sorted(snapshot.shards.items()):
            shards.setdefault(owner.node_id, []).append(shard)
        return [
            NodeStatus(
                info=lease.node,
                state=state_of(lease.node, lease_is_alive=not lease.is_over),
                shards=shards.get(lease.node.id, []),
                lease_age_seconds=max(0.0, (snapshot.now_ms - lease.renewed_ms) / 1000),
            )
            for lease in sorted(snapshot.leases.values(), key=lambda lease: (lease.node.name, lease.node.started))
        ]

    async def session(self, session_id: str) -> SessionRecord | None:
        """The record of one session, whichever node it lives on; None where nobody knows it."""
        return await self._store.load_session(session_id)

    async def running_calls(self, session_id: str) -> list[str]:
        """The calls of a session that are under way, by method and name, and since when they are.

        Those that have lasted for more than a moment: of others nothing is written.
        """
        noted = await self._store.journal.calls(session_id)
        now = time.time()
        return [
            f"{call.method} {call.name}".strip() + f" for {max(0.0, now - call.started):.0f} s"
            for call in noted
            if isinstance(call, Call)
        ]

    async def sessions(self, beginning: str = "") -> list[SessionRecord]:
        """Every session on record, or those whose ids begin so, the oldest first. Reads them all: for an operator, not
        for a request."""
        records = [record async for record in self._store.sessions(beginning)]
        return sorted(records, key=lambda record: (record.created, record.id))

    async def oldest_sessions(self, most: int) -> tuple[list[SessionRecord], int]:
        """The oldest first, and how many there are. Of the others nothing is read but when they were opened."""
        starts = {session_id: created async for session_id, created in self._store.session_starts()}
        if most >= len(starts):
            return await self.sessions(), len(starts)
        oldest = heapq.nsmallest(most, ((created, session_id) for session_id, created in starts.items()))
        records = await asyncio.gather(*(self._store.load_session(session_id) for _, session_id in oldest))
        return [record for record in records if record is not None], len(starts)


def state_of(info: NodeInfo, *, lease_is_alive: bool) -> str:
    """What the node said last; `dead` where its lease ended without a goodbye."""
    return str(info.state) if lease_is_alive or info.state is NodeState.GONE else DEAD


def node_as_json(info: NodeInfo, state: str, shards: list[str]) -> dict[str, Any]:
    """One node for programs, under the same names in `mooring status --json` and on a node's status page."""
    return {
        "id": info.id,
        "name": info.name,
        "pid": info.pid,
        "url": info.url,
        "peer_link": info.peer_link,
        "relayed_to": list(info.relayed_to),
        "version": info.version,
        "state": state,
        "alive": state not in OVER,
        "sessions": info.sessions,
        "capacity": info.capacity,
        "shards": shards,
        **counters_as_json(info.counters),
    }


def counters_as_json(counters: Counters) -> dict[str, Any]:
    """What a node did, for programs."""
    return {
        "served": counters.served,
        "forwarded_in": counters.forwarded_in,
        "forwarded_out": counters.forwarded_out,
        "refused": dict(counters.refused),
        "adopted": counters.adopted,
        "revived": counters.revived,
        "outcomes": dict(counters.outcomes),
        "streams_open": counters.streams_open,
        "streams_kept": counters.streams_kept,
    }


async def watch(
    store: Store,
    *,
    every_seconds: float,
    grace_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    now: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[ClusterView]:
    """The cluster as it changes: a first view, then one after each look at the store.

    While the store is away the last view stands, and for `grace_seconds` after it comes back nodes that were alive
    stay so (see `mooring.core.observer`). The caller compares what it cares about; views may repeat.
    """
    observer = Observer(grace_seconds)
    while True:
        try:
            snapshot = await store.snapshot()
        except StoreUnavailable as error:
            if observer.missed():
                logger.warning("the registry does not answer, the last known nodes stay: %s", error)
        else:
            observer.see(snapshot, now())
            yield observer.view
        await sleep(every_seconds)
