"""Sessions that are brought back on this node: one revival for each at a time (`mooring.node.requests.revival`), and a
bound on how many there are at once; whoever waits is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from mooring.asgi import App, Scope, Send
from mooring.core.ids import brief
from mooring.core.routing import Consult, Reason
from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession, RevivedSession
from mooring.node.node import Node
from mooring.node.requests.revival import Revival

logger = logging.getLogger("mooring.sessions")

AT_ONCE: Final = 16
"""Revivals that run at the same time: each costs the app what opening a session costs."""
_AGAIN_SECONDS: Final = 0.2
_PART_FOR_END: Final = 1 / 3
"""Of `hold_seconds`, for what `on_close` does of the session's last life here."""


class Revivals:
    """Those of one node.

    Args:
        tell: called with each session that was revived, before anybody uses it.
    """

    def __init__(self, node: Node, app: App, tell: Callable[[RevivedSession], Awaitable[None]]) -> None:
        self._node = node
        self._app = app
        self._tell = tell
        self._slots = asyncio.Semaphore(AT_ONCE)
        # By session id, for as long as anybody waits.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def revive(
        self, session_id: str, scope: Scope, send: Send, reason: Reason
    ) -> LocalSession | Reason | Consult | None:
        """The session, which lives here from now on; or why the request is refused; None where the app answered it.

        A store that does not answer is asked again for as long as the request may be held. Where the session is not to
        live here after all, it has to be decided again what becomes of the request, of which nobody has read a byte.

        Args:
            scope: of the request that wakes it.
            reason: why the request is refused where the session has no record.
        """
        failed: StoreUnavailable | None = None
        try:
            async with asyncio.timeout(self._node.settings.hold_seconds), self._alone(session_id) as session:
                if session is None:
                    await self._node.sessions.until_told(session_id, self._node.settings.hold_seconds * _PART_FOR_END)
                while session is None and not self._node.sessions.has_ended(session_id):
                    try:
                        async with self._slots:
                            revival = Revival(self._node, self._app, session_id, scope, send)
                            return await revival.carry_out(reason, self._tell)
                    except StoreUnavailable as error:
                        failed = error
                    await asyncio.sleep(_AGAIN_SECONDS)
                    session = self._node.sessions.find(session_id)
                return session or reason
        except TimeoutError:
            said = str(failed or f"it takes more than {self._node.settings.hold_seconds:g} s (hold_seconds)")
            text = "session %s cannot be revived now: %s"
            self._node.log_once.few(logger, logging.WARNING, text, brief(session_id), said)
            return Reason.NOT_REVIVED if failed is None else Reason.UNREACHABLE

    async def unless_revived(
        self, session_id: str, end: Callable[[], Awaitable[object]]
    ) -> LocalSession | Reason | None:
        """Do what ends the session without a revival; or return the session, where it is revived meanwhile."""
        try:
            async with asyncio.timeout(self._node.settings.hold_seconds), self._alone(session_id) as session:
                if session is None:
                    await end()
                return session
        except TimeoutError:
            return Reason.UNREACHABLE

    @asynccontextmanager
    async def _alone(self, session_id: str) -> AsyncIterator[LocalSession | None]:
        async with self._locks.setdefault(session_id, asyncio.Lock()):
            yield self._node.sessions.find(session_id)
