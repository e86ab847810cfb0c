from __future__ import annotations

import pytest

from mooring.core.model import CHANGES_PER_LIFE, Snapshot
from mooring.core.observer import Observer
from tests.core.test_membership import LEASE_SECONDS, ModelStore
from tests.core.views import PEERS


def test_an_observer_that_was_not_answered_gives_everyone_time() -> None:
    peer = PEERS[0]
    observer, store = Observer(LEASE_SECONDS), ModelStore()
    store.register(peer, 1_000.0)
    observer.see(store.snapshot(1_000.0), 1_000.0)
    assert observer.missed()
    assert not observer.missed()
    observer.see(store.snapshot(1_010.0), 1_010.0)
    assert observer.is_in_grace(1_014.9)
    assert observer.view.is_alive(peer)
    observer.see(store.snapshot(1_015.0), 1_015.0)
    assert not observer.view.is_alive(peer)


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (0, 0, False),
        (0, 5_000_001, False),  # the first shards that there ever were
        (5_000_001, 5_000_001, False),
        (5_000_001, 5_000_009, False),
        (5_000_009, 5_000_001, True),  # an old copy
        (5_000_009, 0, True),  # emptied
        (5_000_009, 7_000_009, True),  # emptied, and filled anew
    ],
)
def test_what_a_version_says_of_the_store(before: int, after: int, lost: bool) -> None:
    observer = Observer(LEASE_SECONDS)
    observer.see(Snapshot(0, before, {}, {}), 1_000.0)
    observer.see(Snapshot(0, after, {}, {}), 1_001.0)
    assert observer.is_in_grace(1_001.0) is lost


@pytest.mark.parametrize(
    ("began", "is_filling"),
    [(1_000, True), (1_000 - LEASE_SECONDS, True), (999 - LEASE_SECONDS, False), (None, False)],
)
def test_who_looks_first_at_a_store_that_just_began_may_miss_what_others_hold(
    began: float | None, is_filling: bool
) -> None:
    observer = Observer(LEASE_SECONDS)
    version = 0 if began is None else int(began) * CHANGES_PER_LIFE + 1
    observer.see(Snapshot(1_000_000, version, {}, {}), 50.0)
    assert observer.is_filling(50.0) is is_filling
    assert not observer.is_filling(50.0 + LEASE_SECONDS)
