"""Whose a request on a session is, as far as that is known by now, and what the app sees of the session until then.

Whether it may use the session (`mooring.node.requests.admission`) is decided once its user is known, and before the
app carries anything out:

    the app               is asked                              and if it may not
    --------------------  ------------------------------------  ------------------------------------------------------
    an SDK's, as we know  when the SDK begins to serve          the SDK does not begin
    it (`is_guarded`)     the session
    any other             when it names the user in the scope,  it does not see the session id, which is not in the
                          and when it reads the body            headers until the right user is named, and gets no body

So another app that reads the body first and authenticates then sees the body of whoever sends one, but of no session.
"""

from __future__ import annotations

from typing import Final

from mooring.asgi import HeaderList, Scope, replaced, without
from mooring.core.request import SESSION_HEADER
from mooring.node.clock import passing_time
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.admission import admit
from mooring.node.requests.answers import SAY_NOTHING_OF_A_SESSION
from mooring.node.requests.principal import NOBODY, WatchedScope, principal_of

_MISS_A_SESSION: Final = frozenset({400, 404, 422})
"""What an app answers to a request without the session id that it needs."""


class Entrance:
    """One request's.

    Args:
        is_at_endpoint: below the endpoint's path the app may have something else.
        ends: the request ends its session.

    Attributes:
        scope: as the app gets it, or has changed it.
        is_withheld: the app gets the session id with its user, and not before.
        is_used: the request was found to be its session's principal's.
    """

    def __init__(self, node: Node, session: LocalSession, scope: Scope, *, is_at_endpoint: bool, ends: bool) -> None:
        self.scope = scope
        self.is_used = False
        self._node = node
        self._session = session
        self._ends = ends
        # The SDK asks before it serves this one.
        self._is_guarded = session.is_guarded and is_at_endpoint
        self.is_withheld = not self._is_guarded and session.principal != NOBODY
        # Whom the session's guard has let in.
        self._let_in: str | None = None

    def show(self) -> Scope:
        """The scope as the app gets it, from now on."""
        headers: HeaderList = self.scope["headers"]
        if self._session.is_mapped:
            headers = replaced(headers, SESSION_HEADER, self._session.inner_id.encode())
        if self.is_withheld:
            self.scope = WatchedScope({**self.scope, "headers": list(headers)}, self._show_or_hide)
            self._show_or_hide(self.scope)
        elif self._session.is_mapped:
            self.scope = {**self.scope, "headers": headers}
        return self.scope

    def _show_or_hide(self, scope: Scope) -> None:
        """The session id is in the headers while the user is the right one, for whoever reads them from now on."""
        headers = without(scope["headers"], SESSION_HEADER)
        if principal_of(scope) == self._session.principal:
            headers.append((SESSION_HEADER, self._session.inner_id.encode()))
            self.note_use()
        if isinstance(scope["headers"], list):
            scope["headers"][:] = headers  # in place: frameworks keep the list
        else:
            scope["headers"] = headers

    def let_in(self, principal: str) -> None:
        """The session's guard has let it in."""
        self._let_in = principal
        self.note_use()

    @property
    def principal(self) -> str:
        """Who sends it, as far as the app has found out by now."""
        return principal_of(self.scope) if self._let_in is None else self._let_in

    def is_its_principals(self) -> bool:
        """Whether the app has found this request to be of the session's principal."""
        return self._let_in is not None or principal_of(self.scope) == self._session.principal

    async def may_read_on(self) -> bool:
        """Asked at each piece of the body: a session that was nobody's at the first one may be somebody's by now."""
        if self._let_in is not None:
            return self._let_in == self._session.principal
        if not self._is_guarded and (self._is_named() or not self.is_withheld):
            return await self._is_admitted()
        return True

    async def may_answer(self, status: int) -> bool:
        """Asked when the answer begins, where nobody has found the request to be the principal's.

        It may be the principal's all the same, cut off by something that comes before the authentication: a failure
        is passed on unless it is about the session.
        """
        if status == 404 or (self.is_withheld and self._is_about_session(status)):
            return False
        if status < 400 and not (self._is_guarded and self._session.principal == NOBODY):
            return await self._is_admitted()
        return True

    async def _is_admitted(self) -> bool:
        """Whether what is in the scope by now is enough to use the session."""
        is_admitted = await admit(self._node, self._session, principal_of(self.scope))
        if is_admitted:
            self.note_use()
        return is_admitted

    def _is_about_session(self, status: int) -> bool:
        """Whether an app that was not shown the session id may have answered this for want of it."""
        if status >= 500 or status in SAY_NOTHING_OF_A_SESSION:
            return False
        return status in _MISS_A_SESSION or self._is_named()

    def _is_named(self) -> bool:
        """Whether authentication has run, as far as can be seen: it may have found nobody."""
        return self.scope.get("user") is not None

    def note_use(self) -> None:
        """It is the principal's."""
        self.is_used = True
        self._session.last_seen = passing_time()
        if self._ends:
            self._session.ends_as = "deleted"
