"""A raw client of the HTTP+SSE transport: it posts each message to whichever node it is told to."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from mooring.core import jsonrpc
from mooring.core.sse import SseEvent, SseParser

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
