"""Who sends a request on a session that is gone: the app's own authentication tells, and nothing is carried out.

The app gets the request with the id of a session that never was, and with an empty body. What it does tells who asks:

    the app                                            then
    -------------------------------------------------  ---------------------------------------------------------------
    turns it away (401, 403, ...)                      that is the answer: whoever has to sign in has to hear it
    fails (5xx), and has not named the principal       that is the answer, as it is where a session lives
    answers anything else, or nothing                  we answer, by whom the app has named in the scope by then
"""

from __future__ import annotations

import uuid

from mooring.asgi import App, Message, Scope, Send, replaced
from mooring.core.request import SESSION_HEADER
from mooring.node.requests.answers import SAY_NOTHING_OF_A_SESSION
from mooring.node.requests.principal import principal_of


class UnidentifiedRequest:
    """One such request.

    Args:
        principal: of the session.
    """

    def __init__(self, scope: Scope, send: Send, principal: str) -> None:
        self._scope = {**scope, "headers": replaced(scope["headers"], SESSION_HEADER, uuid.uuid4().hex.encode())}
        self._send = send
        self._principal = principal
        self._was_read = False
        # Whether an answer of the app's has begun; and whether it goes out.
        self._has_begun = False
        self._is_passed_on = False

    async def identify(self, app: App) -> bool | None:
        """Whether it is the principal's; None where the app has answered it."""
        try:
            await app(self._scope, self._receive, self._pass_on)
        except Exception:
            if not self._has_begun:
                raise
        return None if self._is_passed_on else self._is_its_principals()

    def _is_its_principals(self) -> bool:
        return principal_of(self._scope) == self._principal

    async def _receive(self) -> Message:
        if self._was_read:
            return {"type": "http.disconnect"}
        self._was_read = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            status: int = message["status"]
            is_failure = status >= 500 and not self._is_its_principals()
            self._is_passed_on = is_failure or status in SAY_NOTHING_OF_A_SESSION
        if self._is_passed_on:
            await self._send(message)
        elif message.get("more_body", False):
            raise ConnectionResetError("nobody reads this answer")  # else a stream might go on for ever
