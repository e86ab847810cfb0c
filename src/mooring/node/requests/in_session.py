"""A request on a session that lives here, on its way to the app and back.

The public session id is the only one that a client ever sees: where the app has its own name for the session, the
header is rewritten both ways.

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

import asyncio
import time
from typing import Any, Final

from mooring.asgi import App, HeaderList, Message, Receive, Scope, Send, replaced, route_of, without
from mooring.core import jsonrpc
from mooring.core.request import SESSION_HEADER, RequestFacts
from mooring.core.routing import Reason
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.passing import PassingAnswer
from mooring.node.requests.admission import REQUEST, admit, note_refusal
from mooring.node.requests.answers import SAY_NOTHING_OF_A_SESSION, last_words, refuse
from mooring.node.requests.principal import NOBODY, WatchedScope, principal_of

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}

_MISS_A_SESSION: Final = frozenset({400, 404, 422})
"""What an app answers to a request without the session id that it needs."""


class SessionRequest:
    """One request on a session that lives here."""

    def __init__(
        self, node: Node, session: LocalSession, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._node = node
        self._session = session
        self._method = facts.method
        self._is_delete = facts.method == "DELETE"
        # Below the endpoint's path the app may have something else.
        self._is_at_endpoint = (route_of(scope).rstrip("/") or "/") == session.endpoint
        # The SDK asks before it serves this one.
        self._is_guarded = session.is_guarded and self._is_at_endpoint
        # The app gets the session id with its user, and not before.
        self._is_withheld = not self._is_guarded and session.principal != NOBODY
        self._scope = scope
        self._receive = receive
        self._send = send
        # Whom the session's guard has let in, whether anybody has turned it away, and its answer as far as it has left.
        self._let_in: str | None = None
        self._is_turned_away = False
        self._answer = PassingAnswer()
        # Whether it was found to be its session's principal's.
        self._is_used = False
        # The task that the app runs in, to cancel; whether another node owns the session by now.
        self._task: asyncio.Task[Any] | None = None
        self._is_cut_off = False
        # The body, where it came in one piece: to answer that very request in the app's place.
        self._body = b""

    async def serve(self, app: App) -> None:
        self._task = asyncio.current_task()
        self._session.running.add(self)
        try:
            await self._serve(app)
            if self._is_cut_off:
                await asyncio.sleep(0)  # where the app did not come to meet its cancellation, we do
        except asyncio.CancelledError:
            if not self._is_cut_off:
                raise
        finally:
            self._session.running.discard(self)
        if self._is_cut_off:
            if self._task is not None and self._task.uncancel():
                raise asyncio.CancelledError  # the server wanted it, too
            if not self._is_turned_away:
                await self._answer_in_place_of_app()

    async def _answer_in_place_of_app(self) -> None:
        """Whoever owns the session now decides what becomes of it; of this request nobody knows."""
        request_id = jsonrpc.id_of(jsonrpc.read_message(self._body) or {})
        if self._answer.has_begun:
            await self._answer.end(self._send, last_words(self._method, request_id))
        else:
            await refuse(self._send, Reason.UNREACHABLE, method=self._method, request_id=request_id)

    def cut_off(self) -> None:
        self._is_cut_off = True
        if self._task is not None:
            self._task.cancel()

    async def _serve(self, app: App) -> None:
        self._scope = self._shown()
        self._scope[REQUEST] = self
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            if self._is_turned_away or self._is_cut_off:  # the app misses what it did not get
                return
            if self._is_delete and self._is_its_principals():
                self._note_use()
                await self._node.sessions.close(self._session.id)
            raise
        finally:
            self._scope.pop(REQUEST, None)  # each holds the other
            if self._is_delete and self._is_used:
                self._session.ends_as = "ended"

    async def receive(self) -> Message:
        if self._is_turned_away:
            return _DISCONNECT
        message = await self._receive()
        if message["type"] == "http.request":
            if not message.get("more_body", False):
                self._body = message.get("body", b"")
            await self._check_piece()
        return _DISCONNECT if self._is_turned_away else message

    async def send(self, message: Message) -> None:
        if self._node.keeper.has_lapsed and not await self._node.keeper.regain_in_time():
            self.cut_off()
        if message["type"] == "http.response.start" and not self._is_turned_away and not self._is_cut_off:
            message = await self._start(message)
        if not self._is_turned_away and not self._is_cut_off:
            await self._answer.pass_on(message, self._send)

    def let_in(self, principal: str) -> None:
        self._let_in = principal
        self._note_use()

    async def turn_away(self) -> None:
        self._is_turned_away = True
        note_refusal(self._node, self._session.id)
        if not self._answer.has_begun:  # else what has left is cut off
            await refuse(self._send, Reason.PRINCIPAL)

    def _shown(self) -> Scope:
        """The scope as the app gets it."""
        headers: HeaderList = self._scope["headers"]
        if self._session.is_mapped:
            headers = replaced(headers, SESSION_HEADER, self._session.inner_id.encode())
        if self._is_withheld:
            scope = WatchedScope({**self._scope, "headers": list(headers)}, self._show_or_hide)
            self._show_or_hide(scope)
            return scope
        return {**self._scope, "headers": headers} if self._session.is_mapped else self._scope

    def _show_or_hide(self, scope: Scope) -> None:
        """The session id is in the headers while the user is the right one, for whoever reads them from now on."""
        headers = without(scope["headers"], SESSION_HEADER)
        if principal_of(scope) == self._session.principal:
            headers.append((SESSION_HEADER, self._session.inner_id.encode()))
            self._note_use()
        if isinstance(scope["headers"], list):
            scope["headers"][:] = headers  # in place: frameworks keep the list
        else:
            scope["headers"] = headers

    async def _check_piece(self) -> None:
        """Each piece of the body: a session that was nobody's when the first one came may be somebody's by now."""
        if self._let_in is not None:
            if self._let_in != self._session.principal:
                await self.turn_away()
        elif not self._is_guarded and (self._is_named() or not self._is_withheld):
            await self._check()

    async def _check(self) -> None:
        """Whether what is in the scope by now is enough to use the session."""
        if await admit(self._node, self._session, principal_of(self._scope)):
            self._note_use()
        else:
            await self.turn_away()

    async def _start(self, message: Message) -> Message:
        status: int = message["status"]
        is_its_principals = self._is_its_principals()
        if not is_its_principals:
            await self._check_late(status)
            if self._is_turned_away:
                return message
            is_its_principals = self._is_its_principals()  # it may have been taken over
        if is_its_principals:
            self._note_use()
            if self._ends_session(status):
                await self._node.sessions.close(self._session.id)
        if self._session.is_mapped:
            message = {
                **message,
                "headers": replaced(message.get("headers", []), SESSION_HEADER, self._session.id.encode()),
            }
        return message

    async def _check_late(self, status: int) -> None:
        """The answer begins, and nobody has found the request to be the principal's.

        It may be the principal's all the same, cut off by something that comes before the authentication: a failure
        is passed on unless it is about the session.
        """
        if status == 404 or (self._is_withheld and self._is_about_session(status)):
            await self.turn_away()
        elif status < 400 and not (self._is_guarded and self._session.principal == NOBODY):
            await self._check()

    def _is_about_session(self, status: int) -> bool:
        """Whether an app that was not shown the session id may have answered this for want of it."""
        if status >= 500 or status in SAY_NOTHING_OF_A_SESSION:
            return False
        return status in _MISS_A_SESSION or self._is_named()

    def _is_named(self) -> bool:
        """Whether authentication has run, as far as can be seen: it may have found nobody."""
        return self._scope.get("user") is not None

    def _is_its_principals(self) -> bool:
        """Whether the app has found this request to be of the session's principal."""
        return self._let_in is not None or principal_of(self._scope) == self._session.principal

    def _note_use(self) -> None:
        self._is_used = True
        self._session.last_seen = time.time()
        if self._is_delete:
            self._session.ends_as = "deleted"

    def _ends_session(self, status: int) -> bool:
        """Whether this answer says that the app no longer has the session.

        A DELETE ends it even if the app failed to (5xx), but not where it may not (401, 403, 405). A 404 on another
        request ends it where we cannot see the app's sessions end by themselves.
        """
        if self._is_delete:
            return status < 400 or status == 404 or status >= 500
        return status == 404 and self._session.is_mapped and self._is_at_endpoint
