"""The handles that a request on a session names: whose they are, what is kept of them, and that they are in use."""

from __future__ import annotations

from mooring.core.handle_search import MOST_HANDLES
from mooring.core.handles import Handle
from mooring.core.unread_json import PassingSearch
from mooring.node.membership.handles import InUse
from mooring.node.node import Node
from mooring.node.requests.kept_handles import bring_kept, may_come


class NamedHandles:
    """Of one request, as its body passes by."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._search = PassingSearch()
        # Those that it has named so far, of its own; and those in use, once it is known that it may.
        self._named: list[Handle] = []
        self._in_use: InUse | None = None

    @property
    def are_there(self) -> bool:
        """Whether it has named any of its own so far."""
        return bool(self._named)

    def found_in(self, piece: bytes) -> list[Handle]:
        """Those that this piece of the body names, or ends to name, whosever they are."""
        return [handle for handle in map(self._node.handles.read, self._search.feed(piece)) if handle is not None]

    def anothers(self, found: list[Handle], principal: str) -> Handle | None:
        """The first of them that is another's; without one they are all taken for its own."""
        anothers = next((one for one in found if not self._node.handles.may_use(one, principal)), None)
        if anothers is None:
            self._named = list(dict.fromkeys([*self._named, *found]))[:MOST_HANDLES]
        return anothers

    async def bring(self) -> None:
        """They are in use from now on, and what is kept of them is here, where they are of our shards."""
        handles = self._node.sessions.handles
        for handle, kept in (await bring_kept(self._node, self._named)).items():
            if self._node.handles.may_use(handle, kept.principal) and may_come(self._node, handle, kept):
                handles.add(handle, kept.principal, kept)
        if self._in_use is None:
            self._in_use = handles.using([handle.text for handle in self._named])
            self._in_use.begin()

    def end(self) -> None:
        """The request is over."""
        if self._in_use is not None:
            self._in_use.end()
