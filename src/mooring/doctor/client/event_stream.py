"""What the bytes of an event stream say: its events, and what is sent beside them (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mooring.core.sse import SseComment, SseEvent, SseParser


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
    parts = SseParser().read(body)
    blocks = [part for part in parts if not isinstance(part, SseComment)]
    waits = [block.retry_milliseconds for block in blocks if block.retry_milliseconds is not None]
    return StreamFacts(
        events=tuple(block for block in blocks if isinstance(block, SseEvent)),
        comments=_comments([part for part in parts if isinstance(part, SseComment)]),
        retry_milliseconds=waits[-1] if waits else None,
        ids=tuple(block.id for block in blocks if block.id),
    )


def _comments(lines: Sequence[SseComment]) -> int:
    """Lines that follow one another are one comment, unless they are the same: some servers send no empty line."""
    before = (None, *lines)
    return sum(not line.continues or line == last for last, line in zip(before, lines, strict=False))
