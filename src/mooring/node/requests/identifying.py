"""Who sends a request that the app itself does not serve: its own authentication tells, and nothing is carried out.

Where the session lives here, and the SDK asks us before it serves it (`is_guarded`), that is when we hear it. Else the
app gets the request with the id of a session that never was, and with an empty body. What it does tells who asks:

    the app                                            then
    -------------------------------------------------  ---------------------------------------------------------------
    turns it away (401, 403, ...)                      that is the answer: whoever has to sign in has to hear it
    fails (5xx), and has not named the principal       that is the answer, as it is where a session lives; unless the
                                                       call goes on then, and may fail by itself
    answers anything else, or nothing                  we answer, by whom the app has named in the scope by then
"""

from __future__ import annotations

import uuid

from mooring.asgi import App, Message, Scope, Send, WholeBody, replaced
from mooring.core.request import SESSION_HEADER
from mooring.node.requests.admission import REQUEST
from mooring.node.requests.answers import SAY_NOTHING_OF_A_SESSION
from mooring.node.requests.principal import NOBODY, principal_of


class UnidentifiedRequest:
    """One such request.

    Args:
        principal: of the session; None where it is of nobody known, and whoever is named will do.
        session_id: the app's own, of a session that is guarded.
        goes_on: the call is served after this. An app may well fail over an empty body: that is not its answer.
    """

    is_inquiry = True

    def __init__(
        self,
        scope: Scope,
        send: Send,
        principal: str | None,
        session_id: str | None = None,
        *,
        goes_on: bool = False,
    ) -> None:
        named = uuid.uuid4().hex if session_id is None else session_id
        self._scope = {**scope, "headers": replaced(scope["headers"], SESSION_HEADER, named.encode())}
        if session_id is not None:
            self._scope[REQUEST] = self
        # Who the SDK says it is.
        self._let_in: str | None = None
        self._send = send
        self._principal = principal
        self._goes_on = goes_on
        self._body = WholeBody(b"")
        self._body.leave()  # once it is read, nobody waits
        # Whether an answer of the app's has begun; and whether it goes out.
        self._has_begun = False
        self._is_passed_on = False

    async def identify(self, app: App) -> bool | None:
        """Whether it is the principal's; None where the app has answered it."""
        who = await self.find_out(app)
        return None if who is None else who == self._principal

    async def find_out(self, app: App) -> str | None:
        """Whose it is; None where the app has answered it."""
        try:
            await app(self._scope, self._body.receive, self._pass_on)
        except Exception:
            if not self._has_begun and (self._principal is not None or self._is_failure()):
                raise
        return None if self._is_passed_on else self._who()

    def _is_failure(self) -> bool:
        """Whether the app fails for all that we know of who asks."""
        if self._goes_on:
            return False
        return self._who() == NOBODY if self._principal is None else self._who() != self._principal

    def let_in(self, principal: str) -> None:
        self._let_in = principal

    async def turn_away(self) -> None:
        """It is only asked who it is."""

    def _who(self) -> str:
        return principal_of(self._scope) if self._let_in is None else self._let_in

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._has_begun = True
            status: int = message["status"]
            self._is_passed_on = (status >= 500 and self._is_failure()) or status in SAY_NOTHING_OF_A_SESSION
        if self._is_passed_on:
            await self._send(message)
        elif message.get("more_body", False):
            raise ConnectionResetError("nobody reads this answer")  # else a stream might go on for ever
