"""The time by which a node tells what is used and what is idle: seconds since the epoch, which pass as they do.

The machine's own clock is set now and then, as after a start with a wrong one, or by hand: then all that is in memory
would be idle at once, for hours or years.
"""

from __future__ import annotations

import time
from typing import Final

_AT_THE_START: Final = time.time() - time.monotonic()


def passing_time() -> float:
    """What the machine's clock would say had nobody set it since the process began."""
    return _AT_THE_START + time.monotonic()
