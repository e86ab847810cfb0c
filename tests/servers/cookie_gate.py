"""A server that hands out a cookie with each session and then insists on it, or on its absence.

COOKIE_GATE says which: `kept` or `dropped`.
"""

import os
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.servers import everything_v2

_COOKIE: Final = "affinity=here"
_SESSION_HEADER: Final = "mcp-session-id"


class CookieGate:
    def __init__(self, app: ASGIApp, *, kept: bool) -> None:
        self._app = app
        self._kept = kept
        self._sessions: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session_id = headers.get(_SESSION_HEADER, "")
        if session_id in self._sessions and (_COOKIE in headers.get("cookie", "")) != self._kept:
            wanted = "the" if self._kept else "no"
            await PlainTextResponse(f"{wanted} cookie was expected", 403)(scope, receive, send)
            return

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                self._note(scope["method"], session_id, answered.get(_SESSION_HEADER, ""))
                answered.append("set-cookie", f"{_COOKIE}; Path=/; HttpOnly")
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _note(self, method: str, asked_for: str, answered: str) -> None:
        """A session that was deleted may be asked for without the cookie: it has to be gone for everyone."""
        if method == "DELETE":
            self._sessions.discard(asked_for)
        elif answered and not asked_for:
            self._sessions.add(answered)


app: Final = CookieGate(everything_v2.app, kept=os.environ.get("COOKIE_GATE") == "kept")
