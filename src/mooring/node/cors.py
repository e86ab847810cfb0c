"""What a page from another origin may read: without these headers a browser hides an answer from it.

That is the app's to say, or the setting's (Fetch Standard, section 3.2, CORS protocol):

    `cors_origins`   answers of ours have             preflights at endpoints, and     answers of the app there have
                                                      at the status page
    ---------------  -------------------------------  -------------------------------  -------------------------------
    names the        that origin, or `*`              are answered by us               what the app says; where it
    origin                                                                             says nothing, as ours; the
                                                                                       session id is exposed
    names others     nothing                          are the app's                    what the app says
    is not set       what the app answers to a        are the app's                    what the app says
                     preflight of that origin: who
                     may call it may read why it
                     could not

Everywhere else the app's answers pass untouched, and so do its preflights. An answer that has such headers gets no
second ones: an app, and what is around Mooring, may open it as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from mooring.asgi import OWN_ANSWER, App, HeaderList, Message, Scope, Send, header, request_header, respond, without
from mooring.core.request import SESSION_HEADER

logger = logging.getLogger("mooring.routing")

_REMEMBERED: Final = 1_000
"""Of how many it is known what the app says."""

_REMEMBERED_LENGTH: Final = 1_000
"""Of an origin and a path. A page has no longer ones, and whoever is no page may write megabytes there."""

_ASK_SECONDS: Final = 1.0
"""How long the app may take for that; the refusal waits for it."""

_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_ALLOW_CREDENTIALS: Final = b"access-control-allow-credentials"
_ASKED_METHOD: Final = b"access-control-request-method"
_ASKED_HEADERS: Final = b"access-control-request-headers"
_KEPT: Final = frozenset({_ALLOW_ORIGIN, _ALLOW_CREDENTIALS})
_EXPOSED: Final = (b"access-control-expose-headers", b"Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate")
_VARY: Final = (b"vary", b"Origin")
_PREFLIGHT: Final[HeaderList] = [
    (b"access-control-allow-methods", b"GET, POST, DELETE"),
    (b"access-control-max-age", b"600"),
    (b"vary", b"Origin, Access-Control-Request-Headers"),
]


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks for a page whether it may send a request."""
    return (
        scope["method"] == "OPTIONS"
        and request_header(scope["headers"], b"origin") is not None
        and request_header(scope["headers"], _ASKED_METHOD) is not None
    )


class Cors:
    """
    Args:
        app: what Mooring wraps.
        origins: those of the setting; none: the app decides.
        is_open: whether the setting opens the app's answer to a request, too.
    """

    def __init__(self, app: App, origins: tuple[str, ...], is_open: Callable[[Scope], bool]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._is_open = is_open
        # By origin and path, since an app may open a part of itself alone; the oldest first.
        self._said: dict[tuple[bytes, str], HeaderList] = {}
        # Of an app that gives pages sessions without showing them.
        self._has_warned = False

    def around(self, scope: Scope, send: Send) -> Send:
        """Sends what is ours, and what the setting opens, with these headers; all else as it is."""
        origin = request_header(scope["headers"], b"origin")
        if origin is None:
            return send
        as_it_came = {**scope, "headers": list(scope["headers"])}

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: HeaderList = message.get("headers", [])
                if header(headers, _ALLOW_ORIGIN) is not None:
                    more = self._exposing(headers, as_it_came, origin)
                else:
                    more = await self._opening(message, as_it_came, origin)
                    if more:
                        headers = without(headers, _ALLOW_CREDENTIALS)  # of no use, or for another origin
                message = {**message, "headers": [*headers, *more]} if more else message
            await send(message)

        return send_with_cors

    async def answer_preflight(self, scope: Scope, send: Send) -> bool:
        """Answer a preflight of a page that the setting names; returns False where it is the app's to answer."""
        allowed = self._named(request_header(scope["headers"], b"origin") or b"")
        if not allowed:
            return False
        asked = request_header(scope["headers"], _ASKED_HEADERS)
        allowed += [] if asked is None else [(b"access-control-allow-headers", asked)]
        await respond(send, 200, b"", extra=[*allowed, *_PREFLIGHT])
        return True

    async def _opening(self, message: Message, scope: Scope, origin: bytes) -> HeaderList:
        """What is missing on an answer that is not open to the page."""
        if not message.get(OWN_ANSWER) and not (self._origins and self._is_open(scope)):
            return []
        allowed = self._named(origin) if self._origins else await self._ask(scope, origin)
        return [*allowed, _EXPOSED, _VARY] if allowed else []

    def _exposing(self, headers: HeaderList, scope: Scope, origin: bytes) -> HeaderList:
        """What is missing on an answer that gives a page a session, but does not show it which."""
        exposed = b",".join(value for name, value in headers if name.lower() == _EXPOSED[0]).lower()
        is_shown = SESSION_HEADER in exposed or b"*" in exposed
        if is_shown or header(headers, SESSION_HEADER) is None:
            return []
        if self._named(origin) and self._is_open(scope):
            return [_EXPOSED]
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a web page got a session and cannot read which: have the app's CORS middleware expose Mcp-Session-Id, "
                "or set cors_origins"
            )
        return []

    def _named(self, origin: bytes) -> HeaderList:
        """What the setting says of this origin."""
        if b"*" in self._origins:
            return [(_ALLOW_ORIGIN, b"*")]
        return [(_ALLOW_ORIGIN, origin)] if origin in self._origins else []

    async def _ask(self, scope: Scope, origin: bytes) -> HeaderList:
        """What the app lets pages of this origin read."""
        key = (origin, scope["path"])
        if len(origin) + len(scope["path"]) > _REMEMBERED_LENGTH:
            return []
        if key not in self._said:
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    said = await self._preflight(scope, origin)
            except Exception:  # it fails or takes too long, and may do better the next time
                return []
            while len(self._said) >= _REMEMBERED:
                del self._said[next(iter(self._said))]
            self._said[key] = said
        return self._said[key]

    async def _preflight(self, scope: Scope, origin: bytes) -> HeaderList:
        host = [(name, value) for name, value in scope["headers"] if name == b"host"]
        headers = [*host, (b"origin", origin), (_ASKED_METHOD, b"POST")]
        allowed: HeaderList = []

        has_begun = asyncio.Event()
        body: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if body:
                return body.pop()
            await has_begun.wait()  # all that is asked for is known then
            await asyncio.sleep(0)  # an app that asks again and again must not hold the event loop
            return {"type": "http.disconnect"}

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name.lower(), value) for name, value in message.get("headers", [])]
                allowed.extend((name, value) for name, value in given if name in _KEPT)
                has_begun.set()

        await self._app({**scope, "method": "OPTIONS", "headers": headers}, receive, note)
        return allowed if any(name == _ALLOW_ORIGIN for name, _ in allowed) else []
