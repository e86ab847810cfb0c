"""What befalls thousands at once, as when their node dies: the log tells of the first ones."""

from __future__ import annotations

import logging
import math
import time
from typing import Final

MOST: Final = 20
_AGAIN_SECONDS: Final = 60.0
_AND_MORE: Final = "; what follows of the kind within a minute is told at DEBUG alone"


class FewLines:
    """Those of one node, or of a part of it."""

    def __init__(self) -> None:
        # Of each kind: since when it is told of, by a steady clock, and how often it was.
        self._told: dict[tuple[int, str, str], tuple[float, int]] = {}

    def say(
        self, logger: logging.Logger, level: int, text: str, *values: object, of: str = "", exc_info: bool = False
    ) -> None:
        """The first ones in a minute, and that there are more.

        Args:
            of: parts what is said with the same words.
            exc_info: as in `logging`.
        """
        now, kind = time.monotonic(), (level, text, of)
        since, told = self._told.get(kind, (-math.inf, 0))
        if now - since >= _AGAIN_SECONDS:
            self._told = {one: last for one, last in self._told.items() if now - last[0] < _AGAIN_SECONDS}
            since, told = now, 0
        self._told[kind] = since, told + 1
        if told >= MOST:
            level = logging.DEBUG
        logger.log(level, text + _AND_MORE if told == MOST - 1 else text, *values, exc_info=exc_info)
