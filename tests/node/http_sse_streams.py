"""HTTP+SSE in the raw: a client that posts each message to the node it is told to, and an app that checks nobody."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from mooring.asgi import Receive, Scope, Send
from mooring.core import jsonrpc
from mooring.core.sse import SseEvent, SseParser
from tests.node.apps import answer, lifespan

INITIALIZE = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1.0"},
}


class StreamClient:
    """One session.

    Attributes:
        address: path and query to post to, as the stream's first event has them.
        answer: of the GET.
    """

    def __init__(self, http: aiohttp.ClientSession, answer: aiohttp.ClientResponse) -> None:
        self._http = http
        self._parser = SseParser()
        self._events: list[SseEvent] = []
        self._numbers = itertools.count(1)
        self.answer = answer
        self.address = ""

    @property
    def session_id(self) -> str:
        return urlsplit(self.address).query.partition("=")[2]

    async def next_event(self) -> SseEvent | None:
        """The next event of the stream; None once it has ended."""
        while not self._events:
            piece = await self.answer.content.readany()
            if not piece:
                return None
            self._events += self._parser.feed(piece)
        return self._events.pop(0)

    async def post(
        self, url: str, message: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        async with self._http.post(url + self.address, json=message, headers=headers) as answer:
            return answer.status, await answer.text()

    async def call(self, url: str, method: str, params: Mapping[str, Any], **options: Any) -> Any:
        """The result of a request that is posted to the node at `url`."""
        number = next(self._numbers)
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        status, body = await self.post(url, message, **options)
        assert status == 202, (status, body)
        while True:
            event = await self.next_event()
            assert event is not None, "the stream ended"
            answer = jsonrpc.read_message(event.data) or {}
            if answer.get("id") == number and "method" not in answer:
                return answer["result"]

    async def initialize(self, url: str, **options: Any) -> None:
        await self.call(url, "initialize", INITIALIZE, **options)
        await self.post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **options)


@contextlib.asynccontextmanager
async def streaming(
    http: aiohttp.ClientSession, url: str, path: str = "/sse", headers: Mapping[str, str] | None = None
) -> AsyncIterator[StreamClient]:
    """A session whose stream comes by the node at `url`, from its first event on."""
    accept = {"accept": "text/event-stream", **(headers or {})}
    async with http.get(url + path, headers=accept) as answer:
        assert answer.status == 200, await answer.text()
        client = StreamClient(http, answer)
        first = await client.next_event()
        assert first is not None
        assert first.event == "endpoint"
        client.address = first.data
        yield client


class StreamApp:
    """Answers what is posted to `/messages` on the stream that `/sse` opened, whoever posts it.

    Attributes:
        address: in the `endpoint` event, with `{}` for the session id.
        headers: of the stream's answer, beside its type.
        before: what the stream says before that event, each in a piece of its own.
        name: of the event.
        posted: session id, body and user of each message that came.
    """

    def __init__(self) -> None:
        self.address = "/messages?sessionId={}"
        self.headers: list[tuple[bytes, bytes]] = []
        self.before: list[bytes] = []
        self.name = "endpoint"
        self.posted: list[tuple[str, bytes, Any]] = []
        self.queries: list[bytes] = []
        self._streams: dict[str, asyncio.Queue[bytes]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        user = next((value.decode() for name, value in scope["headers"] if name == b"x-user"), None)
        if user is not None:
            scope["user"] = SimpleNamespace(is_authenticated=True, display_name=user)
        if scope["method"] == "GET":
            await self._stream(receive, send)
        else:
            await self._take(scope, receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        session_id = f"inner-{len(self._streams)}"
        pieces = self._streams[session_id] = asyncio.Queue()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *self.headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        address = self.address.format(session_id)
        for piece in [*self.before, f"event: {self.name}\ndata: {address}\n\n".encode()]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        leaving = asyncio.ensure_future(_until_left(receive))
        try:
            while not leaving.done():
                next_piece = asyncio.ensure_future(pieces.get())
                await asyncio.wait({leaving, next_piece}, return_when=asyncio.FIRST_COMPLETED)
                if not next_piece.done():
                    next_piece.cancel()
                    return
                await send({"type": "http.response.body", "body": next_piece.result(), "more_body": True})
        finally:
            leaving.cancel()

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope["query_string"]
        self.queries.append(query)
        session_id = query.decode().partition("sessionId=")[2]
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        else:
            return
        if session_id not in self._streams:
            await answer(send, 404, b"the app knows no such session")
            return
        self.posted.append((session_id, body, getattr(scope.get("user"), "display_name", None)))
        number = (jsonrpc.read_message(body) or {}).get("id")
        said = json.dumps({"jsonrpc": "2.0", "id": number, "result": {"posted": len(self.posted)}})
        self._streams[session_id].put_nowait(f"event: message\ndata: {said}\n\n".encode())
        await answer(send, 202, b"Accepted")


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
