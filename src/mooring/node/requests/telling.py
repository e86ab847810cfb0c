"""What the client of a session told its server once, after `initialize`, told again to the app that opened it anew."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from contextlib import suppress
from typing import Any, Final

from mooring.asgi import App, Scope
from mooring.core.ids import brief
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.inner import ask, scope_for
from mooring.node.requests.standing import StandingStream

logger = logging.getLogger("mooring.sessions")

_PART: Final = 1 / 4
"""Of `hold_seconds`, for this: what takes longer is told while the session is used."""


class Telling:
    """Of one session.

    Args:
        asked: the scope of what is sent to the app.
    """

    def __init__(self, node: Node, app: App, session: LocalSession, asked: Scope) -> None:
        self._node = node
        self._app = app
        self._session = session
        self._asked = asked
        self._numbers = itertools.count(1)

    async def begin(self) -> None:
        """Tell it, as far as the app has to know it before anybody uses the session.

        Some apps take long for it, or ask their client something first, which waits for this: its request is not held
        for that.
        """
        self._session.telling = asyncio.create_task(self._tell_all())
        if not await self._is_soon_done(self._session.telling):
            self._warn(
                "session %s goes on before its app has taken what its client asked for (to listen, its log level, its "
                "subscriptions): that takes long; see the app's log",
                brief(self._session.id),
            )

    async def _is_soon_done(self, telling: asyncio.Task[Any]) -> bool:
        """Whether it is done before whoever woke the session has waited too long for it; it goes on in any case."""
        self._node.sessions.keep_working(telling)
        done, _ = await asyncio.wait({telling}, timeout=self._node.settings.hold_seconds * _PART)
        return bool(done)

    async def _tell_all(self) -> None:
        session = self._session
        await self._tell("notifications/initialized", None)
        if session.has_stream and self._node.settings.stream_logs and session.standing is None:
            session.standing = StandingStream(self._node, session, self._app, self._asked)
            await self._is_soon_done(asyncio.create_task(session.standing.open()))
        if session.log_level:
            await self._tell("logging/setLevel", {"level": session.log_level})
        for uri in list(session.subscriptions):
            if uri in session.subscriptions:  # its client may have ended it meanwhile
                await self._tell("resources/subscribe", {"uri": uri})

    async def _tell(self, method: str, params: dict[str, Any] | None) -> None:
        session = self._session
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message |= {"id": f"mooring-{session.incarnation}-{next(self._numbers)}", "params": params}
        scope = scope_for(self._asked, session.inner_id, session.protocol)
        said = f"takes more than {self._node.settings.hold_seconds:g} s for it (hold_seconds)"
        with suppress(TimeoutError):
            async with asyncio.timeout(self._node.settings.hold_seconds):
                answer = await ask(self._app, scope, json.dumps(message).encode(), self._node.sessions.keep_working)
                if answer.is_good:
                    return
                said = f"answers {answer.status}"
        self._warn("session %s was revived without its %s: the app %s", brief(session.id), method, said)

    def _warn(self, text: str, *values: object) -> None:
        """It may be so with each session of a node that died."""
        self._node.log_once.few(logger, logging.WARNING, text, *values)
