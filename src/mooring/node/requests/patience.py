"""What is asked of the store for a request is asked again while it does not answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from mooring.node.node import Node
from mooring.store.patience import ask_for

_T = TypeVar("_T")


async def patiently(node: Node, ask: Callable[[], Awaitable[_T]]) -> _T:
    """Its answer, for which a request waits as long as it may be held (`hold_seconds`).

    Args:
        ask: asks the store, as often as it is called.

    Raises:
        StoreUnavailable: it did not answer in that time.
    """
    return await ask_for(node.settings.hold_seconds, ask)
