"""Server-sent events, read piece by piece as they come (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event. `id` is None where the event has no id line, "" where that line is empty."""

    data: str
    event: str = "message"
    id: str | None = None


class SseParser:
    """Feeds on bytes in any pieces, gives whole events.

    Lines end with LF, CR or CR LF; a CR ends its line at once, and an LF that begins the next piece belongs to it.
    A byte order mark at the start is dropped. An event without a data line is none. `retry` is left to whoever
    reconnects.

    Text is decoded once an event is whole: LF and CR are never part of a longer UTF-8 sequence, not even of a broken
    one, so decoding late and line by line gives what decoding the stream would.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._after_cr = False
        self._started = False
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._id: bytes | None = None

    @property
    def pending_bytes(self) -> int:
        """How much of an event that is not whole yet is held."""
        return len(self._line) + self._data_bytes + len(self._event) + len(self._id or b"")

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that `piece` completes."""
        if self._after_cr:
            if not piece:
                return []
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        lines = piece.splitlines()
        rest = lines.pop() if lines and not piece.endswith((b"\n", b"\r")) else b""
        if lines:
            lines[0] = self._first_line(lines[0])
        events: list[SseEvent] = []
        for line in lines:
            if line:
                self._take(line)
            else:
                self._dispatch(events)
        self._line += rest
        return events

    def _first_line(self, end: bytes) -> bytes:
        """The line that began in the pieces before and ends with this one."""
        line = bytes(self._line) + end
        self._line.clear()
        if not self._started:
            self._started = True
            line = line.removeprefix(_BYTE_ORDER_MARK)
        return line

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif name == b"event":
            self._event = value
        elif name == b"id" and b"\0" not in value:
            self._id = value

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            event_id = None if self._id is None else _text(self._id)
            events.append(SseEvent(_text(b"\n".join(self._data)), _text(self._event) or "message", event_id))
            self._data = []
            self._data_bytes = 0
        self._event = b""
        self._id = None


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")
