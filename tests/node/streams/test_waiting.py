"""What waits is in order, within bounds, and what is done with is gone, whatever was lost meanwhile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mooring.node.streams.waiting import Waiting


def test_beyond_the_bounds_the_oldest_is_lost() -> None:
    waiting = Waiting[str](3, 10)
    for item in "abcd":
        waiting.add(item, 1)
    assert waiting.first(9) == ["b", "c", "d"]
    waiting.add("e", 9)
    assert (waiting.first(9), waiting.lost) == (["d", "e"], 3)
    waiting.add("f", 11)
    assert (len(waiting), waiting.lost) == (0, 6)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=40))
def test_nothing_is_lost_or_taken_twice_without_being_counted(steps: list[tuple[int, int]]) -> None:
    waiting, added, done = Waiting[tuple[int]](5, 20), 0, []
    for taken, size in steps:
        batch = waiting.first(taken)
        waiting.add((added,), size)
        added += 1
        before = len(waiting) + waiting.lost
        waiting.done(batch)
        done += batch[len(batch) - (before - len(waiting) - waiting.lost) :]
        assert len(waiting) <= 5
    rest = waiting.first(99)
    assert len(done) + waiting.lost + len(rest) == added
    assert [*done, *rest] == sorted({*done, *rest})
