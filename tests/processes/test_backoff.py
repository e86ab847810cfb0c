from __future__ import annotations

from mooring.processes.backoff import Backoff


def test_pauses_grow_up_to_a_limit() -> None:
    backoff = Backoff()
    assert [backoff.after(0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 15, 15, 15]


def test_a_child_that_lived_long_begins_anew() -> None:
    backoff = Backoff()
    assert [backoff.after(lived) for lived in (0, 29.9, 30, 0)] == [0.5, 1, 0.5, 1]
