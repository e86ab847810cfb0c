"""A request that a peer passes on through Redis, brought to the app as a server of HTTP would."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import unquote

from mooring.asgi import App, Message, Scope
from mooring.core.frames import Headers, Kind, Part, decode_open, encode_start
from mooring.errors import SealBroken
from mooring.node.links.redis_exchange import BrokenOff, Exchange

logger = logging.getLogger("mooring.forwarding")

_LEFT: Final = {"type": "http.disconnect"}


class Answering:
    """
    Args:
        app: answers peers.
        app_state: of the app's lifespan, of which each request gets a copy.
    """

    def __init__(self, app: App, app_state: dict[str, Any]) -> None:
        self._app = app
        self._app_state = app_state

    async def answer(self, exchange: Exchange) -> None:
        """Have the app answer it. One that it does not answer in whole breaks off."""
        request = _Request(exchange)
        try:
            try:
                method, target, headers = decode_open(await exchange.hear())
            except (SealBroken, BrokenOff):
                return
            task = asyncio.current_task()
            if task is not None:
                task.set_name(method)
            await self._app(self._scope(method, target, headers), request.receive, request.send)
        except BrokenOff:
            pass  # nobody listens any more
        except Exception:
            logger.exception("the app failed on a request that was passed on through Redis")
        finally:
            exchange.close(None if request.is_whole else Part(Kind.LEAVE))

    def _scope(self, method: str, target: bytes, headers: Headers) -> Scope:
        raw_path, _, query = target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": None,
            "client": None,
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": self._app_state.copy(),
        }


class _Request:
    """What the app receives of it and sends.

    Attributes:
        is_whole: the answer has ended.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.is_whole = False
        self._exchange = exchange
        self._has_ended = False

    async def receive(self) -> Message:
        if self._has_ended or self.is_whole:
            await self._exchange.breaks()
            return _LEFT
        try:
            part = await self._exchange.hear()
        except BrokenOff:
            return _LEFT
        self._has_ended = part.kind is Kind.END
        return {"type": "http.request", "body": part.data, "more_body": not self._has_ended}

    async def send(self, message: Message) -> None:
        """As with a server, what is sent to one who left goes nowhere."""
        if self._exchange.is_broken or self._exchange.is_over:
            return
        if message["type"] == "http.response.start":
            headers = [(name.lower(), value) for name, value in message.get("headers", [])]
            self._exchange.say(encode_start(message["status"], headers))
        elif message["type"] == "http.response.body":
            try:
                await self._exchange.say_body(message.get("body", b""))
            except BrokenOff:
                return
            if not message.get("more_body", False) and not self.is_whole:
                self.is_whole = True
                self._exchange.say(Part(Kind.END))
