"""Which node serves the request that runs now, for authors' code that asks for a handle.

A context-variable: tools run in a context that began with their request, or with their session's first one, in threads
too. Outside of every request it is the one node of this process, where there is one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mooring.asgi import Scope


@dataclass(frozen=True, slots=True)
class Serving:
    """
    Attributes:
        node: a `mooring.node.node.Node`.
        scope: as the app got it: its authentication names the user there.
        session_id: of the session that is served; None in the modern era.
    """

    node: Any
    scope: Scope
    session_id: str | None = None


_now: ContextVar[Serving | None] = ContextVar("mooring_serving", default=None)
_nodes: weakref.WeakSet[Any] = weakref.WeakSet()


@contextmanager
def serving(node: Any, scope: Scope, session_id: str | None = None) -> Iterator[None]:
    """Within this context the app serves a request of that node."""
    token = _now.set(Serving(node, scope, session_id))
    try:
        yield
    finally:
        _now.reset(token)


def what_is_served() -> Serving | None:
    """What the running code works on; None outside of every request."""
    return _now.get()


def joined(node: Any) -> None:
    """The node serves in this process from now on."""
    _nodes.add(node)


def left(node: Any) -> None:
    """The node serves no more."""
    _nodes.discard(node)


def nodes_here() -> list[Any]:
    """The nodes of this process that are in their cluster."""
    return list(_nodes)
