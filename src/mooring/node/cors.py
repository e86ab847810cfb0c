"""Mooring's own answers for a page from another origin: without these headers a browser hides them from it.

What a page may read is the app's to say, or the setting's (Fetch Standard, section 3.2, CORS protocol):

    `cors_origins`   an answer of ours has
    ---------------  ------------------------------------------------------------------------------------------
    names the origin that origin, or `*`
    names others     nothing
    is not set       what the app answers to a preflight of that origin: who may call it may read why it could not

The app's own answers pass untouched, and so do OPTIONS requests. What is around Mooring adds its headers itself.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mooring.asgi import OWN_ANSWER, App, HeaderList, Message, Scope, Send

_REMEMBERED: Final = 1_000
"""Of how many it is known what the app says."""

_ASK_SECONDS: Final = 1.0
"""How long the app may take for that; the refusal waits for it."""

_KEPT: Final = frozenset({b"access-control-allow-origin", b"access-control-allow-credentials"})
_EXPOSED: Final = (b"access-control-expose-headers", b"Mcp-Session-Id, Mcp-Protocol-Version")
_VARY: Final = (b"vary", b"Origin")


class OwnCors:
    """
    Args:
        app: what Mooring wraps.
        origins: those of the setting; none: the app decides.
    """

    def __init__(self, app: App, origins: tuple[str, ...]) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        # By origin and path, since an app may open a part of itself alone; the oldest first.
        self._said: dict[tuple[bytes, str], HeaderList] = {}

    def around(self, scope: Scope, send: Send) -> Send:
        """Sends what is ours with these headers, and all else as it is."""
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None:
            return send
        as_it_came = {**scope, "headers": list(scope["headers"])}

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start" and message.get(OWN_ANSWER):
                message = {**message, "headers": [*message["headers"], *await self._headers(as_it_came, origin)]}
            await send(message)

        return send_with_cors

    async def _headers(self, scope: Scope, origin: bytes) -> HeaderList:
        if not self._origins:
            allowed = await self._ask(scope, origin)
        elif b"*" in self._origins:
            allowed = [(b"access-control-allow-origin", b"*")]
        else:
            allowed = [(b"access-control-allow-origin", origin)] if origin in self._origins else []
        return [*allowed, _EXPOSED, _VARY] if allowed else []

    async def _ask(self, scope: Scope, origin: bytes) -> HeaderList:
        """What the app lets pages of this origin read."""
        key = (origin, scope["path"])
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
        headers = [*host, (b"origin", origin), (b"access-control-request-method", b"POST")]
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
        return allowed if any(name == b"access-control-allow-origin" for name, _ in allowed) else []
