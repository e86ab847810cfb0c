"""A message that is posted to an HTTP+SSE session that lives here: its id is in the query, and not in a header.

The app gets its own id in the place of ours: at once where the session is nobody's, and else with the session's
principal as the user in the scope, and not before.
"""

from __future__ import annotations

from mooring.asgi import Scope
from mooring.core.http_sse import with_id, without_id
from mooring.node.current import Serving
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.entrance import Entrance
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.principal import WatchedScope, principal_of


class PostedEntrance(Entrance):
    """Shows the session id in the query."""

    def __init__(self, node: Node, session: LocalSession, scope: Scope, *, is_at_endpoint: bool, ends: bool) -> None:
        super().__init__(node, session, scope, is_at_endpoint=is_at_endpoint, ends=ends)
        query: bytes = scope.get("query_string") or b""
        self._query_for_app = with_id(query, session.inner_id)
        self._query_for_others = without_id(query)

    def show(self) -> Scope:
        if self.is_withheld:
            self.scope = WatchedScope(self.scope, self._show_or_hide)
            self._show_or_hide(self.scope)
        else:
            self.scope = {**self.scope, "query_string": self._query_for_app}
        return self.scope

    def _show_or_hide(self, scope: Scope) -> None:
        """The session id is in the query while the user is the right one, for whoever reads it from now on."""
        if principal_of(scope) == self._session.principal:
            scope["query_string"] = self._query_for_app
            self.note_use()
        else:
            scope["query_string"] = self._query_for_others


class PostedRequest(SessionRequest):
    """One such request."""

    _entrance_type = PostedEntrance

    def _serving(self) -> Serving:
        """Nothing is kept of such a session: what is posted is answered on its stream, and not with what it changes."""
        return Serving(self._node, self._entrance.scope, self._session.id)

    def _ends_session(self, status: int) -> bool:
        return False  # its stream does
