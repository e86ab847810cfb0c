"""A request's body on its way to a peer: whether there is one, and the MAC that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from mooring.asgi import Message, Receive, Scope, has_body, header
from mooring.core.signing import BodyMac

_COMING_SECONDS: Final = 0.02
"""How long headers wait for the first piece of the body: aiohttp sends them together, and the app may need no body."""


async def look_for_body(scope: Scope, receive: Receive) -> tuple[bool, Receive]:
    """Whether the request brings a body; and how to receive it, since of HTTP/2 only the first piece tells."""
    if scope.get("http_version", "1.1") < "2" or header(scope["headers"], b"content-length") is not None:
        return has_body(scope["headers"]), receive
    first = [await receive()]

    async def from_first() -> Message:
        return first.pop() if first else await receive()

    return bool(first[0].get("body") or first[0].get("more_body")), from_first


async def signed(receive: Receive, mac: BodyMac) -> AsyncGenerator[bytes, None]:
    """The request's body as it comes, then its MAC."""
    coming = asyncio.ensure_future(receive())
    try:
        await asyncio.sleep(0)  # most often it is there
        if not (coming.done() or (await asyncio.wait({coming}, timeout=_COMING_SECONDS))[0]):
            yield b""
        message = await coming
    finally:
        coming.cancel()
    while message["type"] != "http.disconnect":
        piece = message.get("body", b"")
        mac.update(piece)
        if not message.get("more_body", False):
            yield piece + mac.digest()
            return
        yield piece
        message = await receive()
    raise ConnectionAbortedError("the client left before its request was complete")
