"""The least that a middleware in Python has to do for a call, as a scale for what Mooring does.

It knows who owns what, trusts everybody, has no bounds, asks nobody, and survives nothing. Left is what no middleware
can leave out:

    legacy  the session's id is read, and the call's own; the stream has a signed id; an event with it goes out before
            the app has anything to say; each event is read, gets an id and is kept; the answer is told apart from the
            rest; a client that leaves does not end the app's work
    modern  the headers and the body are searched for handles, which are checked; the answer names no session; it is
            known which calls run
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
from typing import Any, Final

from mooring.asgi import App, Message, Receive, Scope, Send, is_open_event_stream
from mooring.core.handles import PREFIX
from mooring.core.request import MODERN_SINCE

_KEY: Final = b"of the benchmark alone"
_PREFIX: Final = PREFIX.encode()
_BEGIN, _END = b"event: message\r\ndata: ", b"\r\n\r\n"


class Least:
    """Around an app whose endpoint is `/mcp`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._running: set[Any] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/mcp" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        session_id, is_modern = None, False
        for name, value in scope["headers"]:
            if name == b"mcp-session-id":
                session_id = value
            elif name == b"mcp-protocol-version":
                is_modern = value >= MODERN_SINCE
            elif name.startswith(b"mcp-param-") and _PREFIX in value:
                _check(value)
        call: _LegacyCall | _ModernCall
        if is_modern:
            call = _ModernCall(receive, send)
        elif session_id is not None:
            call = _LegacyCall(session_id, receive, send)
        else:
            await self._app(scope, receive, send)
            return
        self._running.add(call)
        try:
            await self._app(scope, call.receive, call.send)
        finally:
            self._running.discard(call)
            call.is_over.set()


def _check(handle: bytes) -> bool:
    """Whether somebody of ours made it."""
    return hmac.compare_digest(hmac.digest(_KEY, handle, "sha256")[:10], handle[-10:])


class _ModernCall:
    __slots__ = ("_receive", "_send", "is_over")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.is_over = asyncio.Event()

    async def receive(self) -> Message:
        message = await self._receive()
        body = message.get("body", b"")
        if _PREFIX in body:
            for value in json.loads(body)["params"]["arguments"].values():
                if isinstance(value, str):
                    _check(value.encode())
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [one for one in message["headers"] if one[0] != b"mcp-session-id"]
        await self._send(message)


class _LegacyCall:
    __slots__ = ("_log", "_message", "_receive", "_send", "_session_id", "_stream_id", "is_answered", "is_over")

    def __init__(self, session_id: bytes, receive: Receive, send: Send) -> None:
        self._session_id = session_id
        self._receive = receive
        self._send = send
        self._message: dict[str, Any] | None = None
        self._stream_id = b""
        self._log: list[bytes] = []
        self.is_answered = False
        self.is_over = asyncio.Event()

    async def receive(self) -> Message:
        if self._message is not None:
            await self.is_over.wait()
            return {"type": "http.disconnect"}
        message = await self._receive()
        self._message = json.loads(message["body"])
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            if is_open_event_stream(message["headers"]):
                await self._begin()
        elif self._stream_id:
            await self._pass_on(message)
        else:
            await self._send(message)

    async def _begin(self) -> None:
        said = b"c0000" + secrets.token_bytes(6) + b"%d" % self._id
        mac = hmac.digest(_KEY, said + self._session_id, "sha256")[:10]
        self._stream_id = base64.urlsafe_b64encode(said + mac).rstrip(b"=")
        await self._say(b"id: %b.1.1\nretry: 1000\ndata: \n\n" % self._stream_id)

    @property
    def _id(self) -> int:
        assert self._message is not None
        return int(self._message.get("id", 0))

    async def _pass_on(self, message: Message) -> None:
        piece: bytes = message.get("body", b"")
        if piece.startswith(_BEGIN) and piece.endswith(_END):
            data = piece[len(_BEGIN) : -len(_END)]
            self.is_answered = b'"result"' in data and json.loads(data)["id"] == self._id
            number = len(self._log) + 1
            await self._say(b"event: message\nid: %b.1.%d\ndata: %b\n\n" % (self._stream_id, number, data))
        elif piece:
            await self._send({**message, "more_body": True})
        if not message.get("more_body", False):
            await self._send({**message, "body": b""})

    async def _say(self, event: bytes) -> None:
        self._log.append(event)
        await self._send({"type": "http.response.body", "body": event, "more_body": True})
