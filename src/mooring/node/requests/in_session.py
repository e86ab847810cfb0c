"""A request on a session that lives here, on its way to the app and back.

The public session id is the only one that a client ever sees: where the app has its own name for the session, the
header is rewritten both ways.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from mooring.asgi import App, Message, Receive, Scope, Send, replaced
from mooring.core.ids import brief
from mooring.core.request import SESSION_HEADER, RequestFacts
from mooring.core.routing import Reason
from mooring.node.membership.sessions import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import refuse
from mooring.node.requests.principal import NOBODY, principal_of

logger = logging.getLogger("mooring.sessions")

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class SessionRequest:
    """One request on a session that lives here.

    A request from a principal other than the one who opened the session is answered as if the session did not exist.
    The principal shows once the app has authenticated: before it reads the body, so that nothing is carried out, or, at
    the latest, before its answer leaves, so that nothing is revealed.
    """

    def __init__(
        self, node: Node, session: LocalSession, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._node = node
        self._session = session
        self._facts = facts
        self._scope = scope
        self._receive = receive
        self._send = send
        self._refused = False
        self._checked = False

    async def serve(self, app: App) -> None:
        session = self._session
        session.last_seen = time.time()
        if self._facts.method == "DELETE":
            session.ends_as = "deleted"
        if session.is_mapped:
            self._scope = {
                **self._scope,
                "headers": replaced(self._scope["headers"], SESSION_HEADER, session.inner_id.encode()),
            }
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            if self._facts.method == "DELETE" and not self._is_anothers():
                await self._node.sessions.close(session.id)
            raise
        finally:
            if self._facts.method == "DELETE":
                session.ends_as = "ended"

    async def receive(self) -> Message:
        if not self._checked:
            self._checked = True
            principal = principal_of(self._scope)
            if principal not in (NOBODY, self._session.principal):
                await self._refuse()
        return _DISCONNECT if self._refused else await self._receive()

    async def send(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            message = await self._start(message)
            if self._refused:
                return
        await self._send(message)

    async def _start(self, message: Message) -> Message:
        status: int = message["status"]
        is_anothers = self._is_anothers()
        if is_anothers and (status < 400 or status == 404):
            await self._refuse()
            return message
        if not is_anothers and self._ends_session(status):
            await self._node.sessions.close(self._session.id)
        if self._session.is_mapped:
            message = {
                **message,
                "headers": replaced(message.get("headers", []), SESSION_HEADER, self._session.id.encode()),
            }
        return message

    def _is_anothers(self) -> bool:
        """Whether the app has found that this request comes from another principal, or from nobody."""
        return principal_of(self._scope) != self._session.principal

    def _ends_session(self, status: int) -> bool:
        """Whether this answer says that the app no longer has the session.

        A DELETE ends it even if the app failed to (5xx), but not where it may not (401, 403, 405). A 404 on another
        request ends it where we cannot see the app's sessions end by themselves.
        """
        if self._facts.method == "DELETE":
            return status < 400 or status == 404 or status >= 500
        return status == 404 and self._session.is_mapped and self._scope["path"] == self._node.settings.mcp_path

    async def _refuse(self) -> None:
        self._refused = True
        self._node.tally.refused[Reason.PRINCIPAL] += 1
        logger.warning("session %s belongs to another principal: answered as unknown", brief(self._session.id))
        await refuse(self._send, Reason.PRINCIPAL)
