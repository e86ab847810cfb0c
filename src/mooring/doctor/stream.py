"""A stream held open, and when what came on it."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import re
import time
from dataclasses import dataclass
from typing import Final

import aiohttp

from mooring.core.sse import SseEvent, SseParser

MOST_BYTES: Final = 1024 * 1024
_COMMENT: Final = re.compile(rb"(?m)^:")
_RETRY: Final = re.compile(rb"(?m)^retry: ?(\d{1,9})\r?$")
_ID: Final = re.compile(rb"(?m)^id: ?(.*?)\r?$")


class End(enum.StrEnum):
    """How a stream ended: as HTTP ends a body, or with its connection."""

    CLEAN = "clean"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One piece, `seconds` after the stream's head."""

    seconds: float
    data: bytes


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What an event stream says of itself.

    Attributes:
        events: with data; a priming event's data is empty.
        comments: lines that only keep the connection alive.
        retry_milliseconds: when a client shall come back; None where it does not say.
        ids: in their order, of events with and without data.
    """

    events: tuple[SseEvent, ...]
    comments: int
    retry_milliseconds: int | None
    ids: tuple[str, ...]

    @property
    def is_primed(self) -> bool:
        """The first event has an id and no data (2025-11-25, Transports: Resumability)."""
        first = self.events[0] if self.events else None
        if first is not None and first.data == "":
            return bool(first.id)
        return bool(self.ids) and (first is None or self.ids[0] != first.id)


def stream_facts(body: bytes) -> StreamFacts:
    """What an event stream's bytes say."""
    retries = _RETRY.findall(body)
    return StreamFacts(
        events=tuple(SseParser().feed(body)),
        comments=len(_COMMENT.findall(body)),
        retry_milliseconds=int(retries[-1]) if retries else None,
        ids=tuple(value.decode("utf-8", errors="replace") for value in _ID.findall(body) if value),
    )


class HeldStream:
    """Reads an open answer in the background until it ends or is closed.

    Attributes:
        started: when its head came, by the monotonic clock.
        arrivals: what came, in its pieces.
        end: how it ended by itself; None while it is open, or where we closed it.
        ended_seconds: when that was, from its head.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers
        self.started = time.monotonic()
        self.arrivals: list[Arrival] = []
        self.end: End | None = None
        self.ended_seconds = 0.0
        self._task = asyncio.create_task(self._read())

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def body(self) -> bytes:
        return b"".join(arrival.data for arrival in self.arrivals)

    @property
    def silence_seconds(self) -> float:
        """From the last that came to the end, or to now."""
        last = self.arrivals[-1].seconds if self.arrivals else 0.0
        return (self.ended_seconds if self.end is not None else self.age_seconds) - last

    async def wait(self, seconds: float) -> bool:
        """Wait until it ends, for at most `seconds`; whether it has ended."""
        await asyncio.wait([self._task], timeout=max(0.0, seconds))
        return self._task.done()

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._response.close()

    async def _read(self) -> None:
        total = 0
        end = End.CLEAN
        try:
            async for piece in self._response.content.iter_any():
                total += len(piece)
                if total <= MOST_BYTES:
                    self.arrivals.append(Arrival(self.age_seconds, piece))
        except (aiohttp.ClientError, OSError):
            end = End.CUT
        self.end, self.ended_seconds = end, self.age_seconds
