from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from mooring.core.changes import Changes
from mooring.core.model import Snapshot
from tests.core.views import snapshots

PROPERTY = settings(deadline=None, max_examples=200)

_T = TypeVar("_T")


def changes_between(before: Mapping[str, _T], after: Mapping[str, _T]) -> dict[str, _T | None]:
    names = before.keys() | after.keys()
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


def told(after: Snapshot, before: Snapshot, has_all_leases: bool, has_all_shards: bool) -> Changes:
    leases = after.leases if has_all_leases else changes_between(before.leases, after.leases)
    shards = after.shards if has_all_shards else changes_between(before.shards, after.shards)
    return Changes(after.now_ms, after.version, after.mark, leases, shards, has_all_leases, has_all_shards)


@PROPERTY
@given(snapshots, snapshots, st.booleans(), st.booleans())
def test_what_comes_of_the_changes_is_what_a_whole_answer_says(
    before: Snapshot, after: Snapshot, has_all_leases: bool, has_all_shards: bool
) -> None:
    assert told(after, before, has_all_leases, has_all_shards).since(before) == after


@PROPERTY
@given(snapshots)
def test_who_knows_nothing_is_told_everything(after: Snapshot) -> None:
    assert told(after, after, has_all_leases=True, has_all_shards=True).since(None) == after


@PROPERTY
@given(snapshots, snapshots)
def test_what_was_known_is_never_changed_in_place(before: Snapshot, after: Snapshot) -> None:
    leases, shards = dict(before.leases), dict(before.shards)
    told(after, before, has_all_leases=False, has_all_shards=False).since(before)
    assert (before.leases, before.shards) == (leases, shards)


@PROPERTY
@given(snapshots)
def test_where_nothing_changed_nothing_is_copied(known: Snapshot) -> None:
    after = told(known, known, has_all_leases=False, has_all_shards=False).since(known)
    assert after.leases is known.leases
    assert after.shards is known.shards
