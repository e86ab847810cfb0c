"""Python's garbage collector, set for a server.

As Python sets it, each collection of the oldest generation walks through all that is loaded, which with an SDK is more
than 100,000 objects, and no request is served meanwhile: for 60 ms and more, every 400 to 1,200 calls. So what is
loaded is frozen: no collection looks at it again. And the young are collected less often, since one call of the
official SDK leaves more than a hundred objects in cycles.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

THRESHOLDS: Final = (5_000, 5, 2)
"""For `gc.set_threshold`.

The first: a collection of the young starts when there are so many more containers than at the last. Measured with SDK
v2 under 3.11, 3.12 and 3.13, collections take least time in all between 3,000 and 8,000, and with 5,000 each one takes
1 to 2 ms. With 20,000 they take longer in all (so much garbage leaves the processor's caches, it seems), and 7 to 14 ms
each.

The second and third are below Python's own 10 to bound the memory. What has grown old and is garbage then, as a session
that was ended, waits for 5,000 x 6 x 3 new containers; with 10 and 10 it is 5,000 x 11 x 11. Looking at the old more
often costs little, since the frozen are not among them. Where many sessions are open, Python's own rule keeps full
collections few: what has grown old since the last one has to be a quarter of all that is.

CPython 3.11 to 3.13, and 3.14 from 3.14.5 on, have these three generations, and 700 or 2,000 for the first number.
3.14.0 to 3.14.4 have two: each collection takes the young and a part of the old. A smaller second number makes that
part larger, which bounds the memory there too; the third has no meaning. Free-threaded builds have a single generation
and use the first number alone.
"""

WHILE_LOADING: Final = (100_000, 10, 10)
"""For `gc.set_threshold` while modules are imported: all that they make stays, so looking through it finds nothing, and
takes a sixth of the time that a node needs to start. It is no more than that, since an app may well work on data then.
"""

_before: tuple[int, int, int] | None = None
"""The thresholds as they were, while `tune_gc` is in force. The collector is the whole process's, so this is too."""


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Import modules within it; afterwards the thresholds are as they were, or as what was imported has set them."""
    before = gc.get_threshold()
    gc.set_threshold(*WHILE_LOADING)
    try:
        yield
    finally:
        if gc.get_threshold() == WHILE_LOADING:
            gc.set_threshold(*before)


def tune_gc() -> Callable[[], None]:
    """Set the garbage collector for a server: call it once, when the app has started. A second call changes nothing.

    What is alive now is frozen: it is freed as before when nothing refers to it any more, but not where it is part of
    a cycle. Other cycles are found as before, if somewhat later, which takes a MiB or so.

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
