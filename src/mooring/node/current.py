"""Which node serves the request that runs now, and what that may change, for authors' code that asks for it.

A context-variable: tools run in a context that began with their request, or with their session's first one, in threads
too. Outside of every request it is the one node of this process, where there is one.
"""

from __future__ import annotations

import logging
import weakref
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mooring.asgi import Scope
from mooring.core.kept_state import StateUse

logger = logging.getLogger("mooring.handles")

_IN_SCOPE: Final = "mooring.serving"


class HandleStates(Protocol):
    """What one call may change of handles: `mooring.node.requests.call_states`."""

    def part(self, text: str) -> dict[str, Any]:
        """What is kept of this handle."""


@dataclass(slots=True)
class Serving:
    """Within this context, and in what the app does with this scope, the app serves a request of that node.

    Attributes:
        node: a `mooring.node.node.Node`.
        scope: as the app got it: its authentication names the user there.
        session_id: of the session that is served; None in the modern era.
        use: of that session's state; None where the request gets none.
        handles: None where it gets none of theirs.
    """

    node: Any
    scope: Scope
    session_id: str | None = None
    use: StateUse | None = None
    handles: HandleStates | None = None
    _before: Token[Serving | None] | None = field(default=None, init=False)

    def __enter__(self) -> None:
        self.scope[_IN_SCOPE] = self
        self._before = _now.set(self)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _now.reset(self._before)
        self.scope.pop(_IN_SCOPE, None)  # each holds the other


_now: ContextVar[Serving | None] = ContextVar("mooring_serving", default=None)
_nodes: weakref.WeakSet[Any] = weakref.WeakSet()
_kinds_minted_early: set[str] = set()
"""Until a node joins."""


def what_is_served() -> Serving | None:
    """What the running code works on; None outside of every request."""
    return _now.get()


def served_with(scope: Scope) -> Serving | None:
    """What the app works on with this scope; None once that has ended."""
    found = scope.get(_IN_SCOPE)
    return found if isinstance(found, Serving) else None


def joined(node: Any) -> None:
    """The node serves in this process from now on."""
    _nodes.add(node)
    if _kinds_minted_early:
        logger.warning(
            "handles (%s) were minted before the node had joined its cluster, as while the app was imported or "
            "started: calls with them are refused; mint them while a request is served",
            ", ".join(sorted(_kinds_minted_early)),
        )
        _kinds_minted_early.clear()


def minted_early(kind: str) -> None:
    """A handle of this kind was minted while no node served in this process."""
    _kinds_minted_early.add(kind)


def left(node: Any) -> None:
    """The node serves no more."""
    _nodes.discard(node)


def nodes_here() -> list[Any]:
    """The nodes of this process that are in their cluster."""
    return list(_nodes)
