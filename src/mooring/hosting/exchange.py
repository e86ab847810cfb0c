"""One request to an app in this process, without a server between, and its answer as far as the first message in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mooring.asgi import App, HeaderList, Message, WholeBody
from mooring.core import jsonrpc
from mooring.core.sse import SseParser

_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 1.0
_ANSWER_BYTES: Final = 1024 * 1024
_SHOWN: Final = 150


@dataclass
class Answer:
    """
    Attributes:
        failure: what the app raised, or that it took too long.
        message: the JSON-RPC message in its body.
    """

    status: int = 0
    headers: HeaderList = field(default_factory=list)
    message: jsonrpc.Message | None = None
    failure: str = ""


class Exchange:
    """
    Args:
        state: of the app's lifespan.
    """

    def __init__(
        self, app: App, method: str, path: str, headers: Mapping[str, str], body: bytes, state: Mapping[str, Any]
    ) -> None:
        self._app = app
        told = {**headers, "content-length": str(len(body))}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
            "client": ("127.0.0.1", 0),
            "server": None,
            "state": dict(state),
        }
        self._body = WholeBody(body)
        self._answer = Answer()
        self._received = bytearray()

    async def run(self) -> Answer:
        asking = asyncio.ensure_future(self._app(self._scope, self._body.receive, self._send))
        asking.add_done_callback(lambda _: self._body.leave())
        try:
            async with asyncio.timeout(_SECONDS):
                await self._body.has_left.wait()
        except TimeoutError:
            self._answer.failure = f"it did not answer within {_SECONDS:g} s"
        self._body.leave()
        await asyncio.wait({asking}, timeout=_LEAVE_SECONDS)
        asking.cancel()
        await asyncio.wait({asking})
        if not asking.cancelled() and (error := asking.exception()) is not None and not self._answer.status:
            self._answer.failure = f"{type(error).__name__}: {printable(str(error))}"
        return self._answer

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._answer.status, self._answer.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body" and len(self._received) < _ANSWER_BYTES:
            self._received += message.get("body", b"")
            self._answer.message = _message_in(bytes(self._received))
            if self._answer.message is not None:
                self._body.leave()


def _message_in(received: bytes) -> jsonrpc.Message | None:
    texts = [received.decode("utf-8", "replace"), *(event.data for event in SseParser().feed(received))]
    messages = [message for text in texts if (message := jsonrpc.read_message(text)) is not None]
    return next((message for message in messages if jsonrpc.is_answer(message)), None)


def printable(text: str) -> str:
    """Foreign text for a line of the log."""
    return "".join(letter for letter in text if letter.isprintable())[:_SHOWN]
