"""The one narrow contract for everything that Mooring keeps outside its process.

`tests/store/test_contract.py` holds every adapter to it. All methods raise `StoreUnavailable` when the
store does not answer in time; none of them waits for it to come back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Protocol

from mooring.core.model import NodeInfo, SessionRecord, ShardOwner, Snapshot


class Store(Protocol):
    """Leases, shard owners and session records."""

    async def register(self, node: NodeInfo, lease_seconds: float) -> int:
        """Write the node with a fresh lease, whether or not the store knew it; returns `Lease.renewed_ms`."""

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known_version: int
    ) -> Snapshot | None:
        """Renew the node's lease and say what the store knows now.

        Args:
            renewed_ms: when this node last renewed its lease, as the store said then.
            known_version: `Snapshot.shards` is None where the shards are still at this version.

        Returns:
            None where the store does not know this node, or knows an older renewal than the last one: it was
            emptied, or went back to an old copy. Nothing is written then.
        """

    async def leave(self, node: NodeInfo) -> None:
        """End the node's lease now. Its entry stays, as `gone`, so that nobody has to guess what became of it."""

    async def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        """Make `claimed` the owner if the shard stands at `expected_epoch` (0: no owner); return the owner after that.

        A shard that `claimed.node_id` owns already keeps its owner and takes the higher epoch.
        """

    async def snapshot(self) -> Snapshot:
        """What the store knows now, with all shards."""

    async def prune(self, older_than_seconds: float) -> int:
        """Forget nodes whose lease ended that long ago, and retire their shards; returns how many nodes."""

    async def save_session(self, record: SessionRecord, ttl_seconds: int) -> None:
        """Write the record, whole, whether or not it was there."""

    async def touch_sessions(self, last_seen: Mapping[str, float], ttl_seconds: int) -> list[str]:
        """Renew the records of these sessions in one batch; returns the ids that the store has no record of."""

    async def load_session(self, session_id: str) -> SessionRecord | None:
        """The record, or None."""

    async def delete_session(self, session_id: str) -> bool:
        """Remove the record and all that belongs to it; returns whether there was one."""

    def sessions(self) -> AsyncIterator[SessionRecord]:
        """All records, in no order; one that comes or goes during the call may be missing."""

    async def save_sessions(self, records: Iterable[SessionRecord], ttl_seconds: int) -> None:
        """Write many records in few round trips."""

    async def aclose(self) -> None:
        """Close the connections."""
