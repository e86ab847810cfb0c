"""How long to wait before a child that died is started again."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.5
LONGEST_SECONDS: Final = 15.0
STEADY_SECONDS: Final = 30.0


class Backoff:
    """0.5 s, 1 s, 2 s, and so on up to 15 s; from the start again after a child that lived 30 s."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def after(self, lived_seconds: float) -> float:
        """The pause after a child that lived this long."""
        if lived_seconds >= STEADY_SECONDS:
            self._next = FIRST_SECONDS
        pause, self._next = self._next, min(2 * self._next, LONGEST_SECONDS)
        return pause
