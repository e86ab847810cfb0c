"""What a process may believe of its cluster through breaks of the store, which may then lack something that exists.

    what happens                     from then on
    -------------------------------  ------------------------------------------------------------------------
    the store does not answer        the last view stands
    it answers again, or went back   grace for a lease's time: what is missing is not taken for dead or unknown
    a peer names a newer owner       that one owns the shard, until the store says otherwise

A machine without I/O or a clock. `now` is seconds by any clock that does not stop while the process does; leases are
compared with the store's own time alone (`mooring.core.ownership`).
"""

from __future__ import annotations

import math

from mooring.core.model import ShardOwner, Snapshot, life_of
from mooring.core.ownership import ClusterView, advance


class Observer:
    """The cluster as one process sees it.

    Attributes:
        view: replaced by each look that was answered, and by what peers say.

    Args:
        grace_seconds: how long the store may take to have everything again: a lease's time.
    """

    def __init__(self, grace_seconds: float) -> None:
        self.view = ClusterView()
        self._grace_seconds = grace_seconds
        self._grace_until = -math.inf
        self._fills_until = -math.inf
        self._is_away = False

    def is_filling(self, now: float) -> bool:
        """Whether the store began anew just before this process looked at it first: so it may have been emptied, and
        others may not have written again what they hold."""
        return now < self._fills_until

    def is_in_grace(self, now: float) -> bool:
        """Whether what is missing in the store may exist all the same."""
        return now < self._grace_until

    def begin_grace(self, now: float) -> None:
        """The store may have lost something."""
        self._grace_until = now + self._grace_seconds

    def missed(self) -> bool:
        """The store did not answer; returns whether that is news."""
        was_away, self._is_away = self._is_away, True
        return not was_away

    def see(self, snapshot: Snapshot, now: float) -> None:
        """The store answered."""
        if self._is_away or _store_has_lost(self.view.version, snapshot.version):
            self.begin_grace(now)
        if self.view.version <= 0 and _age_of_store(snapshot) <= self._grace_seconds:
            self._fills_until = now + self._grace_seconds
        self._is_away = False
        self.view = advance(self.view, snapshot, in_grace=self.is_in_grace(now))

    def learned(self, shard: str, owner: ShardOwner) -> None:
        """A peer says who owns a shard."""
        self.view = self.view.learned(shard, owner)


def _store_has_lost(before: int, now: int) -> bool:
    """Whether the store was set back to an old copy, or emptied and perhaps filled anew, between these two versions."""
    return before > 0 and (now < before or life_of(now) != life_of(before))


def _age_of_store(snapshot: Snapshot) -> float:
    """How many seconds ago the store began to be filled, to the second; for ever, where it holds nothing yet."""
    return snapshot.now_ms // 1000 - life_of(snapshot.version) if snapshot.version else math.inf
