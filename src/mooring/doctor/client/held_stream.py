"""A stream held open, and when each piece came on it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client import protocol
from mooring.doctor.client.event_stream import StreamFacts, stream_facts
from mooring.doctor.client.received import trouble_of
from mooring.doctor.client.reply import Outcome, Reply, Trouble
from mooring.doctor.client.wire import Headers, Wire

MOST_BYTES: Final = 1024 * 1024
_REFUSAL_SECONDS: Final = 2.0
"""For the body of what is no stream."""
_LET_GO_SECONDS: Final = 5.0
"""For a server, and what is in front of it, to see that whoever read a stream has gone: before, it answers 409."""
_LET_GO_PAUSE_SECONDS: Final = 0.2

Opening = Callable[[], Awaitable[aiohttp.ClientResponse]]
"""Sends the request, and comes back with the answer's head."""


class End(enum.StrEnum):
    """How a stream ended: as HTTP ends a body, or with its connection."""

    CLEAN = "clean"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One piece, `seconds` after the stream was asked for."""

    seconds: float
    data: bytes


def facts_of(arrivals: Sequence[Arrival]) -> StreamFacts:
    """What these pieces say, taken together."""
    return stream_facts(b"".join(arrival.data for arrival in arrivals))


class HeldStream:
    """Asks for a stream and reads it in the background, until it ends or is closed.

    Its times are from the request; from its own making where the answer has already begun. Whoever holds it reads its
    attributes, and only its own reading task changes them.

    Attributes:
        status, headers: of the answer's head; 0 and none until it came.
        head_seconds: when the answer's head came; None where none came yet.
        arrivals: what came, in its pieces, up to `MOST_BYTES` in all.
        end: how it ended by itself; None while it is open, or where we closed it.
        ended_seconds: when that was.
        trouble: why no head came, or why it was cut.
    """

    def __init__(self, opening: Opening | aiohttp.ClientResponse) -> None:
        self.status = 0
        self.headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
        self.head_seconds: float | None = None
        self.arrivals: list[Arrival] = []
        self.end: End | None = None
        self.ended_seconds = 0.0
        self.trouble: Trouble | None = None
        self._detail = ""  # what the library said of the trouble
        self._response: aiohttp.ClientResponse | None = None  # from the head on; `close` lets go of it
        self._began = time.monotonic()
        self._news = asyncio.Event()  # set by the reading task at each change; cleared by whoever waits in `until`
        self._task = asyncio.create_task(self._run(opening))

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def body(self) -> bytes:
        return b"".join(arrival.data for arrival in self.arrivals)

    @property
    def is_stream(self) -> bool:
        """Its head came, and it is that of an event stream."""
        return self.status == 200 and self.media_type == protocol.EVENT_STREAM

    @property
    def is_refused(self) -> bool:
        """Something else came, or nothing will come."""
        return not self.is_stream and (self.status != 0 or self.end is not None)

    @property
    def media_type(self) -> str:
        return Reply(headers=self.headers).media_type

    @property
    def reply(self) -> Reply:
        """All that came until now."""
        return Reply(
            status=self.status,
            headers=self.headers,
            body=self.body,
            message=protocol.answer(self.body, self.media_type, 0),
            trouble=self.trouble,
            detail=self._detail,
            first_byte_seconds=self.head_seconds or 0.0,
            seconds=self.ended_seconds or self.age_seconds,
        )

    async def until(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Wait for something, at most for so long, or until the stream ends; whether it has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == math.inf else max(0.0, seconds)):
                while not enough() and not self._task.done():
                    self._news.clear()
                    await self._news.wait()
        return enough()

    async def head(self, seconds: float) -> bool:
        """Wait for the answer's head, or for its failing; whether either came."""
        return await self.until(lambda: self.head_seconds is not None or self.end is not None, seconds)

    async def wait(self, seconds: float) -> bool:
        """Wait until it ends; whether it has."""
        return await self.until(lambda: self.end is not None, seconds)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._response is not None:
            self._response.close()

    async def _run(self, opening: Opening | aiohttp.ClientResponse) -> None:
        end = End.CLEAN
        try:
            await self._read(opening)
        except Exception as error:
            end, self.trouble, self._detail = End.CUT, trouble_of(error), str(error)
        finally:
            self._news.set()
        self.ended_seconds, self.end = self.age_seconds, end

    async def _read(self, opening: Opening | aiohttp.ClientResponse) -> None:
        total = 0
        response = self._response = opening if isinstance(opening, aiohttp.ClientResponse) else await opening()
        self.head_seconds = self.age_seconds
        self.status, self.headers = response.status, response.headers
        self._news.set()
        async for piece in response.content.iter_any():
            total += len(piece)
            if total <= MOST_BYTES:
                self.arrivals.append(Arrival(self.age_seconds, piece))
                self._news.set()


def is_lost(reply: Reply) -> bool:
    """Whether a node answered that does not know the session. 409 speaks of it too, and knows it well."""
    return reply.outcome is Outcome.LOST and reply.status != 409


async def reach_stream(
    wire: Wire,
    headers: Callable[[int], Headers],
    message: protocol.Message | None = None,
    *,
    tries: int,
    seconds: float,
) -> HeldStream:
    """Ask for a stream over new connections, until a node answers that knows the session.

    One that the session has already may be our own, of which we have just let go: it is asked for again for a while.

    Args:
        headers: of each turn.
        message: to POST; a GET where None.
        seconds: how long to wait for the head; where none comes it is still waited for in the background.
    """
    turn, began = 1, time.monotonic()
    while True:
        given = headers(turn)
        stream = HeldStream(lambda given=given: _ask(wire, given, message))  # type: ignore[misc]
        try:
            await stream.head(seconds)
            if stream.is_refused:
                await stream.wait(_REFUSAL_SECONDS)
        except asyncio.CancelledError:
            await stream.close()
            raise
        is_taken = message is None and stream.status == HTTPStatus.CONFLICT
        if is_taken and time.monotonic() - began < _LET_GO_SECONDS:
            pause = _LET_GO_PAUSE_SECONDS
        elif stream.is_refused and turn < tries and is_lost(wire.seen_through(stream.reply)):
            turn, pause = turn + 1, 0.0
        else:
            return stream
        await stream.close()
        await asyncio.sleep(pause)


async def _ask(wire: Wire, headers: Headers, message: protocol.Message | None) -> aiohttp.ClientResponse:
    return await wire.open(
        "GET" if message is None else "POST", headers=headers, message=message, timeout_seconds=math.inf
    )
