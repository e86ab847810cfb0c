"""What the bytes of an event stream say: its events, and what is sent beside them (WHATWG HTML, section 9.2).

`SseParser` gives the events alone. What a diagnosis also needs, comments, ids of events without data, and `retry`, is
read here, each by a function of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mooring.core.sse import SseEvent, SseParser

_RETRY: Final = re.compile(rb"(?m)^retry: ?(\d{1,9})\r?$")
_ID: Final = re.compile(rb"(?m)^id: ?(.*?)\r?$")


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What an event stream says of itself.

    Attributes:
        events: with data; a priming event's data is empty.
        comments: how many times something came that only keeps the connection alive.
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

    @property
    def sendings(self) -> int:
        """How many times the server must have sent something, if each event and each comment went out by itself."""
        return len(self.events) + self.comments


def stream_facts(body: bytes) -> StreamFacts:
    """What an event stream's bytes say."""
    retries = _RETRY.findall(body)
    return StreamFacts(
        events=tuple(SseParser().feed(body)),
        comments=_comments(body),
        retry_milliseconds=int(retries[-1]) if retries else None,
        ids=tuple(value.decode("utf-8", errors="replace") for value in _ID.findall(body) if value),
    )


def _comments(body: bytes) -> int:
    """Lines that follow one another are one comment, unless they are the same: some servers send no empty line."""
    count = 0
    before = b""
    for line in body.splitlines():
        if line.startswith(b":") and (not before.startswith(b":") or line == before):
            count += 1
        before = line
    return count
