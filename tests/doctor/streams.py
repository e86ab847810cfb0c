"""An MCP server whose streams may be wrong in one way at a time, and which is quick about it: in the test's process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aiohttp import web

from tests.doctor.serving import serving

PRIMING: Final = "id: 1\ndata:\nretry: 200\n\n"
_SSE: Final = "text/event-stream"


@dataclass
class StreamServer:
    """
    Attributes:
        ping_seconds: how often a comment is sent on the standalone stream; 0 for never.
        get: what a GET is answered with: `stream`, or a status, such as 405.
        get_pause_seconds: before that.
        taken: so many GETs are answered with 409 first, as where the stream before is not seen to have been let go of.
        cut_seconds: a stream of that age is cut; 0 for none.
        cuts: so many streams are cut, and the later ones live.
        ends: the sessions end with the first stream that is cut, as with a node that is stopped.
        end_seconds: a stream of that age ends cleanly; 0 for none.
        first_words: what a stream begins with.
        keeps_back: what is sent on the stream comes with its end.
        aborts: when its session is deleted, a stream of that age in seconds is cut and does not end.
        answers: what POST is answered with.
        ids: event ids are given.
        resumes: what a GET with Last-Event-ID brings.
        lost_share: every so many-th request within a session meets a node that knows it, as far as it is no POST;
            0 where all do.
        streams: how many GETs were answered with one.
        deleted: the sessions that were ended by their client.
    """

    url: str = ""
    ping_seconds: float = 0.0
    get: Literal["stream"] | int = "stream"
    get_pause_seconds: float = 0.0
    taken: int = 0
    cut_seconds: float = 0.0
    cuts: int = 1_000
    ends: bool = False
    end_seconds: float = 0.0
    first_words: str = ""
    keeps_back: bool = False
    aborts: float | None = None
    answers: Literal["stream", "json"] = "stream"
    ids: Literal["", "primed", "last"] = ""
    resumes: Literal["answer", "twice", "others", "nothing", "json"] | int = "answer"
    lost_share: int = 0
    streams: int = 0
    resumed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    _live: dict[str, asyncio.Event] = field(default_factory=dict)
    _asked: int = 0
    _last_id: Any = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        session_id = request.headers.get("Mcp-Session-Id")
        if request.method == "POST":
            return await self._post(request, session_id)
        self._asked += 1
        if session_id not in self._live or (self.lost_share and self._asked % self.lost_share):
            return web.json_response(_error(None, "Session not found"), status=404)
        if request.method == "DELETE":
            self._live.pop(session_id).set()
            self.deleted.append(session_id)
            return web.Response(status=204)
        if self.taken > 0:
            self.taken -= 1
            return web.json_response(_error(None, "Conflict: Only one SSE stream is allowed per session"), status=409)
        if "Last-Event-ID" in request.headers:
            return await self._resume(request)
        await asyncio.sleep(self.get_pause_seconds)
        if self.get != "stream":
            return web.Response(status=self.get, text="no stream")
        return await self._stream(request, self._live[session_id])

    async def _post(self, request: web.Request, session_id: str | None) -> web.StreamResponse:
        message: dict[str, Any] = await request.json()
        headers = {}
        result: dict[str, Any] = {}
        if message.get("method") == "initialize":
            headers["Mcp-Session-Id"] = new = uuid.uuid4().hex
            self._live[new] = asyncio.Event()
            version = message["params"]["protocolVersion"]
            result = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        elif session_id not in self._live:
            return web.json_response(_error(message.get("id"), "Session not found"), status=404)
        elif "id" not in message:
            return web.Response(status=202)
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        if self.answers == "json":
            return web.json_response(answer, headers=headers)
        self._last_id = message["id"]
        priming = PRIMING if self.ids == "primed" else ""
        event_id = "id: 2\n" if self.ids else ""
        return web.Response(
            text=f"{priming}{event_id}data: {json.dumps(answer)}\n\n", content_type=_SSE, headers=headers
        )

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        self.resumed.append(request.headers["Last-Event-ID"])
        if isinstance(self.resumes, int):
            return web.Response(status=self.resumes, text="no resumption")
        if self.resumes == "json":
            return web.json_response({})
        answers = {"answer": [self._last_id], "twice": [self._last_id] * 2, "others": [self._last_id + 5_000]}
        response = web.StreamResponse(headers={"Content-Type": _SSE})
        await response.prepare(request)
        for one in answers.get(self.resumes, []):
            await response.write(f"id: 3\ndata: {json.dumps({'jsonrpc': '2.0', 'id': one, 'result': {}})}\n\n".encode())
        await asyncio.Event().wait()
        return response

    async def _stream(self, request: web.Request, gone: asyncio.Event) -> web.StreamResponse:
        self.streams += 1
        number, began = self.streams, time.monotonic()
        kept = self.first_words.encode()
        response = web.StreamResponse(headers={"Content-Type": _SSE})
        if not self.keeps_back:
            await response.prepare(request)
        while not gone.is_set():
            if kept and not self.keeps_back:
                await response.write(kept)
                kept = b""
            age = time.monotonic() - began
            if self.cut_seconds and age >= self.cut_seconds and number <= self.cuts:
                if self.ends:
                    self._live.clear()
                return self._cut(request, response)
            if self.end_seconds and age >= self.end_seconds:
                return response
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), self._pause(age))
            if self.ping_seconds and not gone.is_set():
                kept += b": ping\n\n"
        if self.aborts is not None and time.monotonic() - began >= self.aborts:
            return self._cut(request, response)
        if self.keeps_back:
            await response.prepare(request)
            await response.write(kept)
        return response

    def _pause(self, age: float) -> float | None:
        """Until there is something to do."""
        times = [one - age for one in (self.cut_seconds, self.end_seconds) if one > age]
        if self.ping_seconds:
            times.append(self.ping_seconds)
        return min(times, default=None)

    def _cut(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return response


def _error(request_id: Any, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": -32600, "message": text}}


@contextlib.asynccontextmanager
async def stream_server(**options: Any) -> AsyncIterator[StreamServer]:
    server = StreamServer(**options)
    async with serving(server.answer) as server.url:
        yield server
