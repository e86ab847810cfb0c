"""Python's garbage collector, set for a server.

As Python sets it, each collection of the oldest generation walks through all that is loaded, which with an SDK is more
than 100,000 objects, and no request is served meanwhile. And it looks for cycles after every few hundred new
objects, while one call of the official SDK leaves more than a hundred of them in cycles. So what is loaded is frozen,
and collections are fewer.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

THRESHOLDS: Final = (20_000, 5, 2)
"""For `gc.set_threshold`.

The first: so many more containers than were freed start a collection of the young ones. The second and third are below
Python's own 10, since they multiply: garbage that has grown old waits for 20,000 x 6 x 3 new objects, not for 20,000 x
11 x 11, which is what bounds the memory. Collections of the oldest generation cost little where all that is loaded is
frozen. With many sessions open, Python's own rule keeps them few: what is new has to be a quarter of what is old.

CPython 3.11 to 3.13, and 3.14 from 3.14.5 on, have these three generations. 3.14.0 to 3.14.4 have two: each collection
takes the young objects and a part of the old ones. There a smaller second number makes the part larger, which bounds
the memory too, and the third is ignored. Free-threaded builds have one generation, and use the first number alone.
"""

_before: tuple[int, int, int] | None = None
"""The thresholds as they were, while `tune_gc` is in force. The collector is the whole process's, so this is too."""


def tune_gc() -> Callable[[], None]:
    """Set the garbage collector for a server: call it once, when the app has started. A second call changes nothing.

    What is alive now is frozen: it is freed as before when nothing refers to it any more, but not where it is part of
    a cycle. Collections are fewer, so garbage in cycles waits longer, which takes some MiB.

    Returns:
        What undoes it.
    """
    global _before
    if _before is None:
        _before = gc.get_threshold()
        gc.collect()  # garbage that is frozen stays for good
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
    return _undo


def _undo() -> None:
    global _before
    if _before is not None:
        gc.set_threshold(*_before)
        gc.unfreeze()
        _before = None
