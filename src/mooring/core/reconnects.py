"""When clients whose streams end are to come back: one after another, so that they do not all come at once."""

from __future__ import annotations

import math
from typing import Final

PER_SECOND: Final = 100.0
"""How many come back in a second, while there are few enough for that."""
LONGEST_SECONDS: Final = 30.0
"""Within which all of them are back, however many there are."""
LEAST_SECONDS: Final = 1.0
"""Nobody is told to come back sooner: the session has to be somewhere by then."""


class Reconnects:
    """Those of one move.

    Args:
        count: how many clients there are, as far as is known when it begins.
    """

    def __init__(self, count: int) -> None:
        self._step_seconds = min(1 / PER_SECOND, LONGEST_SECONDS / max(count, 1))
        # When the last one was told to come back.
        self._last = -math.inf

    def next_milliseconds(self, now: float) -> int:
        """How long the next client shall wait (`retry`).

        Args:
            now: seconds, by a steady clock.
        """
        self._last = max(self._last + self._step_seconds, now + LEAST_SECONDS)
        return round((self._last - now) * 1000)
