"""Server-sent events, read piece by piece as they come (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event. `id` is None where the event has no id line, "" where that line is empty."""

    data: str
    event: str = "message"
    id: str | None = None


class SseParser:
    """Feeds on bytes in any pieces, gives whole events.

    Lines end with LF, CR or CR LF; a CR at the end of a piece waits for the next one. A byte order mark at the
    start is dropped. An event without a data line is none. `retry` is left to whoever reconnects.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._after_cr = False
        self._started = False
        self._data: list[str] = []
        self._event = ""
        self._id: str | None = None

    @property
    def pending_bytes(self) -> int:
        """How much of an event that is not whole yet is held."""
        return len(self._line) + sum(len(line) for line in self._data)

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that `piece` completes."""
        events: list[SseEvent] = []
        start = 0
        for position, byte in enumerate(piece):
            if byte not in (0x0A, 0x0D):
                self._after_cr = False
                continue
            if byte == 0x0A and self._after_cr:
                self._after_cr = False
            else:
                self._after_cr = byte == 0x0D
                self._line += piece[start:position]
                self._end_line(events)
            start = position + 1
        self._line += piece[start:]
        return events

    def _end_line(self, events: list[SseEvent]) -> None:
        line = self._line.decode("utf-8", errors="replace")
        self._line.clear()
        if not self._started:
            self._started = True
            line = line.removeprefix("\ufeff")
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            events.append(SseEvent("\n".join(self._data), self._event or "message", self._id))
        self._data = []
        self._event = ""
        self._id = None
