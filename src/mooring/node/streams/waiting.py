"""What waits for the store, in order and within bounds: beyond them the oldest is lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Waiting(Generic[_T]):
    """
    Args:
        most, most_bytes: that wait.

    Attributes:
        lost: how many were, so far.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.lost = 0
        self._most = most
        self._most_bytes = most_bytes
        self._items: deque[tuple[_T, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: _T, size: int = 0) -> None:
        self._items.append((item, size))
        self._bytes += size
        while len(self._items) > self._most or self._bytes > self._most_bytes:
            self._bytes -= self._items.popleft()[1]
            self.lost += 1

    def first(self, count: int) -> list[_T]:
        """The oldest, which wait on."""
        return [item for item, _ in islice(self._items, count)]

    def done(self, items: Sequence[_T]) -> None:
        """These, which were the oldest, wait no more. Some of them may have been lost meanwhile."""
        for item in items:
            if self._items and self._items[0][0] is item:
                self._bytes -= self._items.popleft()[1]
