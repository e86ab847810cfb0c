"""What changed in the store since a snapshot, and the snapshot that comes of it.

A store may answer with changes alone. What comes of them has to be what a whole answer would have said, but for this:

    what                        where it was not told anew
    --------------------------  -----------------------------------------------------------------------------
    a lease                     is over, or is not, as it was: an end and a return are changes. Its times are old
    how many sessions, and      may be a little old, so that a busy cluster does not tell of every one: what is told
    what a node counts          anew, and when, is the store's to say
    everything else             is as it was
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from mooring.core.model import Lease, ShardOwner, Snapshot

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a store answered: see `Snapshot`.

    Attributes:
        leases: None for a node that is no longer there.
        shards: None for a shard that has no owner any more.
        has_all_leases: what is not named is not there.
        has_all_shards: the same.
    """

    now_ms: int
    version: int
    mark: str
    leases: Mapping[str, Lease | None]
    shards: Mapping[str, ShardOwner | None]
    has_all_leases: bool
    has_all_shards: bool

    def since(self, known: Snapshot | None) -> Snapshot:
        """The store as it is now, for someone who knew it as `known`."""
        leases = known.leases if known is not None and not self.has_all_leases else {}
        shards = known.shards if known is not None and not self.has_all_shards else {}
        return Snapshot(self.now_ms, self.version, _with(leases, self.leases), _with(shards, self.shards), self.mark)


def _with(known: Mapping[str, _T], changes: Mapping[str, _T | None]) -> Mapping[str, _T]:
    if not changes:
        return known
    after = dict(known)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after
