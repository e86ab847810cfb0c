"""Paths whose requests all go to one node of the cluster, because what they leave in a process is asked for later.

Such are the routes of a login: a client registers, is sent to a page, gets a code, and changes it for a token, each
with a request of its own, and apps keep all of that in memory.

Every node finds the same one without asking: the one that started first, of those that are alive and take new
sessions. So a node that joins changes nothing; once that node drains or is dead, it is the next one's turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo
from mooring.core.ownership import ClusterView
from mooring.core.routing import HOLD, OPEN, Forward, Hold, Open

LOGIN: Final = "login"
"""Among the paths of the settings, it stands for those of a login, as far as they are recognised in the app."""

_ALL_BELOW: Final = "/*"


class OneNodePaths:
    """
    Args:
        paths: each a path, or one that ends in `/*` for all below it.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.known = tuple(dict.fromkeys(paths))
        self._paths = frozenset(path for path in self.known if not path.endswith(_ALL_BELOW))
        self._beginnings = tuple(path.removesuffix("*") for path in self.known if path.endswith(_ALL_BELOW))

    def cover(self, path: str) -> bool:
        """Whether requests at this path go to one node. A slash at its end makes no difference."""
        return path in self._paths or path.rstrip("/") in self._paths or path.startswith(self._beginnings)


def one_of(view: ClusterView) -> NodeInfo | None:
    """The node that takes them; None where none is known that can.

    How many sessions a node holds is no part of it: that changes from one request to the next. A node that names no
    endpoints is of a version that would not know such a request for one.
    """
    able = [info for info in view.alive() if info.state in TAKES_NEW_SESSIONS and info.has_a_way and info.endpoints]
    return min(able, key=lambda info: (info.started, info.id), default=None)


def decide_for_one(node_id: str, view: ClusterView, *, has_lapsed: bool) -> Open | Forward | Hold:
    """What to do with a request at such a path: it is served here only where this is the one node, or there is none."""
    node = one_of(view)
    if node is not None and node.id != node_id:
        return Forward(node)
    return HOLD if has_lapsed else OPEN
