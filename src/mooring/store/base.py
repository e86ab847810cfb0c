"""The one narrow contract for everything that Mooring keeps outside its process.

`tests/store/test_contract.py` holds every adapter to it. All methods raise `StoreUnavailable` when the
store does not answer in time; none of them waits for it to come back.

A shard changes hands in two ways only, and each asks the store's own clock in the same step:

    what          from whom                                                  to whom
    ------------  ---------------------------------------------------------  ----------------------------
    `adopt`       an owner that is dead                                      a node whose lease is alive
    `give`        an owner whose lease is alive, which gives it up itself    a node whose lease is alive

`claim` moves nothing: it is for a shard that nobody has, and for a node that writes its own shards anew.

Each write to a session's record names the epoch that the writer holds the session's shard at, and is compared with
the record's in the same step: see `Written`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final, Protocol

from mooring.core.model import NodeInfo, SessionRecord, ShardOwner, Snapshot, Touch, Written
from mooring.store.journal import Journal

REMOVED_SECONDS: Final = 600
"""How long a removed record leaves a mark, so that a node that was paused does not bring it back."""


class Store(Protocol):
    """Leases, shard owners and session records."""

    @property
    def journal(self) -> Journal:
        """What is written down of the sessions' running work; it goes with their records."""

    async def register(self, node: NodeInfo, lease_seconds: float) -> int:
        """Write the node with a fresh lease, whether or not the store knew it; returns `Lease.renewed_ms`.

        Raises:
            DeclaredDead: this very id left or was buried. Its shards may be another node's by now, and a registration
                that was still on its way when the process died must not bring it back. A process that lives all the
                same has to give up everything it holds. A node that is started again has another id.
        """

    async def heartbeat(
        self, node: NodeInfo, lease_seconds: float, renewed_ms: int, known: Snapshot | None
    ) -> Snapshot | None:
        """Renew the node's lease and say what the store knows now.

        Args:
            renewed_ms: when this node last renewed its lease, as the store said then.
            known: what the store said at that renewal, or None: what has not changed since need not be told again, nor
                need what the node says of itself be sent again.

        Returns:
            None where the store does not know this node, or knows an older renewal than the last one: it was
            emptied, or went back to an old copy. None too where the node's end is on record; and, once, where another
            server has a part of the store by now, which may lack what was written last. Nothing is written then.
        """

    async def look(self, node_id: str, renewed_ms: int, known: Snapshot | None) -> Snapshot:
        """What the store knows now, for a node between two heartbeats; arguments as there."""

    async def extend(self, node_id: str, renewed_ms: int, lease_seconds: float) -> bool:
        """Lengthen the lease of a node that is too busy to renew it; returns whether that was done.

        Only where its lease is alive, and the last renewal on record is that one or a later one, of which the node has
        not heard; it stays the same renewal.
        """

    async def leave(self, node: NodeInfo) -> None:
        """End the node's lease now. Its entry stays, as `gone`, so that nobody has to guess what became of it."""

    async def bury(self, node_id: str) -> bool:
        """The word of a parent process that saw this node end: its lease is over now, for good.

        Returns whether there is such a node; it may have been buried before. One whose entry has no lease that reads
        is left alone, as if it were not there.
        """

    async def claim(self, shard: str, claimed: ShardOwner, expected_epoch: int) -> ShardOwner:
        """Make `claimed` the owner if the shard stands at `expected_epoch` (0: no owner); return the owner after that.

        For a fresh shard, and for a shard that the claimant was given at this very epoch and that the store has lost,
        or has from before. So another node's shard changes its owner only where it stands at a lower epoch than the one
        that is claimed. A shard that `claimed.node_id` owns already keeps its owner and takes the higher epoch.
        """

    async def adopt(self, shard: str, node_id: str, expected_epoch: int) -> ShardOwner:
        """Take over a dead node's shard at the next epoch; returns the owner then, `NO_OWNER` where it has none.

        Only where the shard stands at `expected_epoch`, the lease of `node_id` is alive, and the owner is dead: its
        lease is over, or it is `gone`. An owner without an entry is not dead: the store may have been emptied in
        part. It is given a lease as long as the adopter's own, from now on, so that the shard can be adopted if
        its owner does not come back by then. Nor is one whose lease is over while no other lived: the store may have
        been away from all. From the first renewal after such a silence they have a lease's time to come back; but for
        those that are `gone` or buried.
        """

    async def give(self, shard: str, giver: ShardOwner, receiver_id: str) -> ShardOwner:
        """Hand a shard to a peer at the next epoch; returns the owner then, `NO_OWNER` where it has none.

        Only where `giver` holds it at exactly that epoch, and the leases of both are alive and neither is `gone`.
        """

    async def retire(self, shard: str, owner: ShardOwner) -> ShardOwner:
        """Leave a shard without an owner, where `owner` holds it at exactly that epoch; returns the owner then.

        Sessions of it may still be on record: whoever is asked for one may `claim` the shard, at an epoch above the
        record's.
        """

    async def order(self, node_id: str, word: str, keep_seconds: float) -> None:
        """Leave a word of the operator's for a node, in the place of the last one; it is forgotten after a while."""

    async def order_for(self, node_id: str) -> str:
        """The word that was left for this node; "" where there is none. It stays until it is heard: an answer may be
        lost."""

    async def heard_order(self, node_id: str, word: str) -> None:
        """The node has heard this word, which goes, unless another one was left since."""

    async def snapshot(self) -> Snapshot:
        """What the store knows now, for anyone. Nothing is written."""

    async def prune(self, older_than_seconds: float) -> int:
        """Forget nodes whose lease ended that long ago, and retire their shards; returns how many nodes."""

    async def save_session(self, record: SessionRecord, ttl_seconds: int) -> Written:
        """Write the record, whole, whether or not it was there; not where it is of a later epoch, or was removed.

        A fresh opening is never refused: its id is random, so no record and no mark of a removed one is there.
        """

    async def save_sessions(self, records: Iterable[SessionRecord], ttl_seconds: int) -> Mapping[str, Written]:
        """Write many records in few round trips; answers those that were not written, by session id."""

    async def touch_sessions(self, touches: Iterable[Touch], ttl_seconds: int) -> Mapping[str, Written]:
        """Renew records in few round trips; answers those that were not renewed, by session id.

        A record of a lower epoch takes the writer's: from then on the owner before is refused.
        """

    async def load_session(self, session_id: str) -> SessionRecord | None:
        """The record, or None."""

    async def delete_session(self, session_id: str, epoch: int) -> Written:
        """Remove the record and all that hangs on it.

        The mark that keeps it from coming back is left also where there was no record: the store may have lost it, and
        somebody may be about to write it anew.
        """

    def sessions(self, beginning: str = "") -> AsyncIterator[SessionRecord]:
        """All records, or those of sessions whose ids begin so, in no order; one that comes or goes during the call may
        be missing.

        Args:
            beginning: letters, digits, dots, `-` and `_`.
        """

    def session_starts(self) -> AsyncIterator[tuple[str, float]]:
        """The id of each, and when it was opened, in a fraction of the time."""

    async def place(self, key: str, shard: str, ttl_ms: int) -> str:
        """The shard that goes with a placement key: this one from now on, where it has none. It is remembered anew.

        Args:
            key: made from what a client said, so that nobody reads that here.
        """

    async def aclose(self) -> None:
        """Close the connections."""
