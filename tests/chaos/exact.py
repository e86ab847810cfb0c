"""Clients that see every byte, and keep exact books of one session each.

Unlike the official ones they leave streams in the middle, come back for the rest, and count what they hear:

a request that                                            is booked as
--------------------------------------------------------  ---------------------------------------------------------
is answered by its tool                                   answered
hears `outcome_unknown`, or that a change is dropped      unknown
hears `unreachable`; or breaks off before its stream has  cut: nobody can know
an id to come back with, and is answered 502
anything else                                             wrong, with all that the client did for it
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from mooring.core.sse import SseComment, SseEvent, SseParser
from tests.chaos.clients import ANSWER_SECONDS, LAST_WORDS_SECONDS, Book
from tests.chaos.diary import Diary
from tests.node.rpc import HEADERS, INITIALIZE
from tests.waiting import until

REVISIONS: Final = ("2025-11-25", "2025-06-18")
_LEAVES: Final = 0.3
"""The part of all streams that their client leaves before they are over, to come back for the rest."""
_PAUSE_SECONDS: Final = 0.4
_USER_SECONDS: Final = 1.5
_REMEMBERED: Final = 60
_NAMES: Final = itertools.count()


@dataclass
class Stream:
    """What one request is answered with, over all connections that carry it; or, of no request, what the server says by
    itself.

    Attributes:
        last: the id of the last event that was seen.
        step: the last step of a call that its client heard of.
        trace: what the client did for it, and what it came to.
    """

    request: dict[str, Any] | None = None
    last: str | None = None
    step: float = 0
    answer: dict[str, Any] | None = None
    is_refused: bool = False
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def note(self, what: str) -> None:
        self.trace.append(f"{time.strftime('%T')}.{time.time() % 1 * 1000:03.0f} {what}")

    @property
    def story(self) -> str:
        return "\n    ".join(["", *self.trace])


class ExactClient:
    """One session.

    Args:
        http: to whichever node is well.
        listens: to what the server says by itself.
        deletes: its session, in the middle of all that goes on.

    Attributes:
        is_open: its session is, and it listens; or it never will.
    """

    def __init__(
        self, http: httpx2.AsyncClient, url: str, book: Book, *, revision: str, listens: bool, deletes: bool
    ) -> None:
        self._http = http
        self._url = url
        self._book = book
        self._revision = revision
        self._listens = listens
        self._deletes = deletes
        self._headers = dict(HEADERS)
        self._ids = itertools.count(2)
        self._by_itself = Stream()
        self._diary = Diary()
        self._is_deleted = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._asking: list[Stream] = []
        self.is_open = asyncio.Event()
        self.calls = 0

    async def run(self, is_over: asyncio.Event) -> None:
        try:
            await self._open()
            await self._work(is_over)
            if self._deletes:
                await self._delete()
            else:
                await self._end_well()
        finally:
            self.is_open.set()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._http.aclose()

    async def _open(self) -> None:
        params = INITIALIZE["params"] | {"protocolVersion": self._revision, "capabilities": {"elicitation": {}}}  # type: ignore[operator]
        reply = await self._http.post(self._url, headers=self._headers, json=INITIALIZE | {"params": params})
        assert reply.status_code == 200, reply.text
        self._headers |= {"mcp-session-id": reply.headers["mcp-session-id"], "mcp-protocol-version": self._revision}
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        if self._listens:
            self._begin(self._listen())

            async def has_begun() -> bool:
                return self._by_itself.last is not None

            await until(has_begun, what="the server's own stream to begin")
        self.is_open.set()

    async def _work(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            work = [self._call_any()]
            if random.random() < 0.5:
                work.append(self._call(*_steps(random.choice(("work", "look")))))
            await asyncio.gather(*work)
            await asyncio.sleep(_PAUSE_SECONDS * random.random())
            if self._deletes and random.random() < 0.05:
                return

    async def _call_any(self) -> None:
        tool = random.choice(("work", "look", "ask", "add", "add", *(["announce"] if self._listens else [])))
        match tool:
            case "work" | "look":
                await self._call(*_steps(tool))
            case "ask":
                await self._call(tool, {"entry": _name(tool)})
            case "announce":
                await self._call(tool, {"uri": f"test://{_name(tool)}"})
            case "add":
                await self._add()

    async def _call(self, tool: str, arguments: dict[str, Any]) -> None:
        entry = str(arguments.get("entry") or arguments["uri"])
        text = await self._told(entry, tool, arguments, self._book.unknown, self._book.cut)
        if text is None:
            return
        if text != entry:
            self._book.wrong.append(f"{entry}: answered {text!r}")
        self._book.answered.add(entry.removeprefix("test://"))
        if tool == "announce":
            self._book.owed[entry] = self
        elif tool == "work":
            self._book.owed |= {f"{entry} {step}": self for step in range(1, arguments["steps"] + 1)}

    async def _add(self) -> None:
        entry = _name("add")
        seconds = random.choice((0.0, 0.0, 0.02, 0.3, 1.0))
        unknown: set[str] = set()
        cut: dict[str, str] = {}
        text = await self._told(entry, "add", {"entry": entry, "seconds": seconds}, unknown, cut)
        self._diary.unknown += unknown
        self._diary.cut += cut
        if text is not None:
            self._book.answered.add(entry)
            self._diary.entries.append(entry)

    async def _told(
        self, entry: str, tool: str, arguments: dict[str, Any], unknown: set[str], cut: dict[str, str]
    ) -> str | None:
        """The text of the answer. Where there is none this is on one of the books."""
        self.calls += 1
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": entry}}
        stream = await self._ask("tools/call", params)
        match stream.answer:
            case {"result": {"content": [{"text": str(text)}], "isError": is_error}} if not is_error:
                return text
            case {"result": {"isError": True, "content": [{"text": str(text)}]}} if "could not be written down" in text:
                unknown.add(entry)
            case {"error": {"data": {"reason": "outcome_unknown"}}}:
                unknown.add(entry)
            case {"error": {"data": {"reason": "unreachable"}}}:
                cut[entry] = "unreachable"
            case None if stream.last is None:
                cut[entry] = "broken off"
            case answer:
                self._wrong(stream, f"{entry}: {answer or 'no answer'}")
        return None

    @property
    def waits_for(self) -> str:
        """What it has asked for and not heard."""
        session = self._headers.get("mcp-session-id")
        return f"{session} ({self._revision})" + "".join(f"\n  {each.request}{each.story}" for each in self._asking)

    # How one request is sent, and what comes back.

    async def _ask(self, method: str, params: dict[str, Any]) -> Stream:
        """A request, which is asked for again and again until it is answered, or was cut off without an id."""
        number = next(self._ids)
        request_id = number if number % 3 else f"r-{number}"
        stream = Stream({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        give_up = time.monotonic() + ANSWER_SECONDS
        self._asking.append(stream)
        await self._read(stream)
        while stream.answer is None and stream.last is not None and not stream.is_refused:
            if time.monotonic() > give_up:
                break
            await asyncio.sleep(_PAUSE_SECONDS * random.random())
            await self._read(stream)
        self._asking.remove(stream)
        return stream

    async def _listen(self) -> None:
        while not self._by_itself.is_refused:
            await self._read(self._by_itself)
            await asyncio.sleep(_PAUSE_SECONDS * random.random())

    async def _read(self, stream: Stream) -> None:
        """One connection for this stream, for as long as it lasts, or until the client leaves."""
        is_post = stream.last is None and stream.request is not None
        headers = self._headers | ({"last-event-id": stream.last} if stream.last else {})
        asked = stream.request if is_post else None
        sending = self._http.stream("POST" if is_post else "GET", self._url, headers=headers, json=asked)
        try:
            async with asyncio.timeout(None) as leaving, sending as response:
                stream.note(f"{'POST' if is_post else 'GET'} after {stream.last}: {response.status_code}")
                await self._take_all(stream, response, leaving)
            stream.note("over")
        except TimeoutError:
            stream.note("left")
        except httpx2.TransportError as error:
            stream.note(repr(error))

    async def _take_all(self, stream: Stream, response: httpx2.Response, leaving: asyncio.Timeout) -> None:
        if response.status_code != 200:
            text = (await response.aread()).decode()
            stream.is_refused = response.status_code != 502
            if stream.is_refused and not (self._is_deleted and response.status_code == 404):
                self._wrong(stream, f"answered {response.status_code} {text}")
            return
        if response.headers["content-type"].startswith("application/json"):
            self._take(stream, json.loads(await response.aread()))
            return
        parser = SseParser()
        if random.random() < _LEAVES:
            leaving.reschedule(asyncio.get_running_loop().time() + random.random())
        async for piece in response.aiter_bytes():
            for part in parser.read(piece):
                if isinstance(part, SseEvent):
                    stream.last = part.id or stream.last
                    if part.data:
                        self._take(stream, json.loads(part.data))
                elif isinstance(part, SseComment) and part.text:
                    stream.note(part.text)

    def _take(self, stream: Stream, message: dict[str, Any]) -> None:
        asked = (stream.request or {}).get("id")
        match message:
            case {"method": "notifications/progress", "params": {"progressToken": entry, "progress": step}}:
                self._book.heard[f"{entry} {step:.0f}"] += 1
                if step <= stream.step:
                    self._wrong(stream, f"heard of {entry} {step:.0f} after {stream.step:.0f}")
                stream.step = step
            case {"method": "notifications/resources/updated", "params": {"uri": uri}}:
                self._book.heard[uri] += 1
                stream.note(f"heard of {uri}")
            case {"method": "elicitation/create", "id": question, "params": {"message": text}}:
                self._begin(self._answer(question, text))
            case {"id": number, **rest} if number == asked and asked is not None and {"result", "error"} & {*rest}:
                if stream.answer is not None:
                    self._wrong(stream, f"answered twice: {stream.answer}, {message}")
                stream.answer = message
            case {"method": "notifications/cancelled"}:
                pass  # as which the streams of earlier revisions begin
            case {"error": {"data": {"reason": "unreachable"}}}:
                stream.note("unreachable")
            case _:
                self._wrong(stream, f"heard {message}")

    async def _answer(self, question: object, text: str) -> None:
        await asyncio.sleep(_USER_SECONDS * random.random())
        said = {"action": "accept", "content": {"name": text}}
        await self._post({"jsonrpc": "2.0", "id": question, "result": said})

    async def _post(self, message: dict[str, Any]) -> None:
        """What has no answer, until a node has taken it."""

        async def is_taken() -> bool:
            reply = await self._http.post(self._url, headers=self._headers, json=message)
            if reply.status_code == 202 or self._is_deleted:
                return True
            if reply.status_code != 502 and "unreachable" not in reply.text:
                self._book.wrong.append(f"{message}: {reply.status_code} {reply.text}")
                return True
            return False

        await until(is_taken, what=f"a node to take {message}")

    # How it ends.

    async def _delete(self) -> None:
        """With a call on it; from then on nobody finds the session."""
        self._begin(self._ask("tools/call", {"name": "work", "arguments": {"entry": _name("work"), "steps": 10}}))
        await asyncio.sleep(_PAUSE_SECONDS * random.random())
        self._is_deleted = True

        async def status(method: str, **body: Any) -> int:
            reply = await self._http.request(method, self._url, headers=self._headers, **body)
            return 502 if "unreachable" in reply.text else reply.status_code

        async def is_deleted() -> bool:
            return await status("DELETE") in (200, 404)

        async def is_gone() -> bool:
            return await status("POST", json={"jsonrpc": "2.0", "id": "last", "method": "ping"}) == 404

        await until(is_deleted, what="the session to be deleted", seconds=LAST_WORDS_SECONDS)
        await until(is_gone, what="the session to be gone", seconds=LAST_WORDS_SECONDS)
        self._forget_what_is_owed()

    def _forget_what_is_owed(self) -> None:
        self._book.owed = {event: whose for event, whose in self._book.owed.items() if whose is not self}

    async def _end_well(self) -> None:
        """All that is owed is heard, and what is kept is what was told."""

        async def is_told() -> Any:
            stream = await self._ask("tools/call", {"name": "kept", "arguments": {}})
            return stream.answer and stream.answer.get("result")

        result = await until(is_told, what="what is kept", seconds=ANSWER_SECONDS)
        self._book.wrong += self._diary.verdict(json.loads(result["content"][0]["text"]))

        async def has_heard_all() -> bool:
            return {event for event, whose in self._book.owed.items() if whose is self} <= self._book.heard.keys()

        with contextlib.suppress(AssertionError):
            await until(has_heard_all, what="all that is owed", seconds=LAST_WORDS_SECONDS)
        for event, whose in self._book.owed.items():
            if whose is self and event not in self._book.heard:
                self._wrong(self._by_itself, f"never heard {event}")

    def _wrong(self, stream: Stream, what: str) -> None:
        session = self._headers.get("mcp-session-id")
        self._book.wrong.append(f"{session} ({self._revision}): {what}: {stream.request}{stream.story}")

    def _begin(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _name(tool: str) -> str:
    return f"{tool}-{next(_NAMES)}"


def _steps(tool: str) -> tuple[str, dict[str, Any]]:
    return tool, {"entry": _name(tool), "steps": random.choice((0, 0, 1, 3, 8, 15))}
