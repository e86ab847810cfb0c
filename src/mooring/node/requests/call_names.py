"""What a request is called on record, so that whoever sends the same one again finds it: by its id and its words, in
the incarnation that it was sent to.

No other request of a session may have its id (specification 2025-11-25, Basic / Messages). Where a client gives one to
several all the same, each is carried out, and the first of them alone has the name.
"""

from __future__ import annotations

from typing import Final

from mooring.core import jsonrpc
from mooring.core.stream_ids import StreamFacts, kind_of
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.bodies import RememberedBody

_REMEMBERED: Final = 256
"""Names of a session that are known to be taken: of what is older nothing is left on record."""


def name_of(node: Node, session_id: str, incarnation: int, body: RememberedBody) -> str:
    """The name of the request with this body, which is whole and not lost."""
    facts = StreamFacts(kind_of(jsonrpc.text_in(body.message(), "method")), incarnation, body.asked())
    return node.streams.ids.mint(session_id, facts, body.digest())


class CallName:
    """Of one request."""

    def __init__(self, node: Node, session: LocalSession, body: RememberedBody) -> None:
        self._node = node
        self._session = session
        self._body = body
        # Once it was asked for; "" where it has none.
        self._taken: str | None = None

    def take(self) -> str:
        """Its name, which is no other's from now on.

        "" where it has none: it asks nothing, is too large to be told apart from another one, or its name was taken.
        """
        if self._taken is None and self._body.is_whole:
            self._taken = self._take()
        return self._taken or ""

    def give(self, name: str) -> None:
        """It is carried out again, and is what it was called before."""
        self._taken = name

    def _take(self) -> str:
        session, names = self._session, self._session.call_names
        if self._body.is_lost or self._body.asked() is None:
            return ""
        name = name_of(self._node, session.id, session.incarnation, self._body)
        if name in names or self._node.streams.find(session.id, name) is not None:
            return ""
        names[name] = None
        if len(names) > _REMEMBERED:
            del names[next(iter(names))]
        return name
