"""A raw MCP client for tests: it controls every header, and shows every byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1.0"},
    },
}


@dataclass
class Reply:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        text = self.body.decode()
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            text = next(line[6:] for line in text.splitlines() if line.startswith("data: {"))
        return json.loads(text)

    @property
    def reason(self) -> str:
        """Why Mooring refused."""
        return str(self.json["error"]["data"]["reason"])

    @property
    def session_id(self) -> str:
        return self.headers["mcp-session-id"]


class RawClient:
    """Sends single requests to any node."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def send(
        self,
        method: str,
        url: str,
        *,
        session: str | None = None,
        body: Any = None,
        headers: dict[str, str] | list[tuple[str, str]] | None = None,
    ) -> Reply:
        data = body if isinstance(body, bytes | AsyncIterator | None) else json.dumps(body).encode()
        given = _headers(session, headers)
        async with self._http.request(method, url, data=data, headers=given, allow_redirects=False) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def begin(self, method: str, url: str, *, session: str, headers: dict[str, str]) -> int:
        """The status of an answer that may be a stream, which is left at once."""
        async with self._http.request(method, url, headers=_headers(session, headers)) as answer:
            return answer.status

    async def first_words(self, method: str, url: str, *, session: str, headers: dict[str, str]) -> bytes:
        """The first message in a stream, which is left then; empty where it ends without one."""
        async with self._http.request(method, url, headers=_headers(session, headers)) as answer:
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    return line
        return b""

    async def first_id(self, base: str, session: str, body: Any, headers: dict[str, str]) -> str:
        """Of the first event in the stream that answers this, which is left then."""
        given = _headers(session, headers)
        async with self._http.post(f"{base}/mcp", data=json.dumps(body).encode(), headers=given) as answer:
            async for line in answer.content:
                if line.startswith(b"id:"):
                    return line[3:].strip().decode()
        raise AssertionError("no event had an id")

    async def open(self, base: str, **options: Any) -> str:
        """The id of a new session, opened at `base`."""
        reply = await self.send("POST", f"{base}/mcp", body=INITIALIZE, **options)
        assert reply.status == 200, reply.body
        return reply.session_id

    async def call(self, base: str, session: str, **options: Any) -> Reply:
        body = options.pop("body", {"jsonrpc": "2.0", "id": 7, "method": "ping"})
        return await self.send("POST", f"{base}/mcp", session=session, body=body, **options)


def _headers(session: str | None, more: dict[str, str] | list[tuple[str, str]] | None) -> CIMultiDict[str]:
    given: CIMultiDict[str] = CIMultiDict(HEADERS)
    if session is not None:
        given["mcp-session-id"] = session
    if isinstance(more, dict):
        given.update(more)
    else:
        given.extend(more or [])
    return given
