"""Server-sent events, read piece by piece as they come, and written (WHATWG HTML, section 9.2.6).

Nothing is lost that the specification lets a client read: what was read here and is written again means the same to an
`EventSource` and to the clients of the MCP SDKs. Dropped are fields that the specification does not know, ids with a
NUL, a `retry` that is not all ASCII digits, and all but the last of a block's ids, names and waits. To keep them would
take memory, and no client acts on them.

The clients do not agree on a block without data. An `EventSource` fires no event for it and still takes its id; the
Python SDK hands it on as an event with empty data, its name too; the TypeScript SDK takes its `retry` and forgets its
id. An empty `data` line, on the other hand, is data to all of them: an id with it is what MCP calls a priming event
(2025-11-25, Transports: Resumability). So a block with data, one without, and a comment are three types: who handles
messages cannot take one for the other, and who passes a stream on has all three.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_BLOCK_ENDS: Final = (b"\n\n", b"\r\r", b"\n\r\n")
_TAIL_BYTES: Final = max(map(len, _BLOCK_ENDS))
BEFORE_ALL: Final = b"\n\n"
"""The last bytes of a stream that has said nothing: something may begin there."""
_COLON: Final = ord(":")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_RETRY_DIGITS: Final = 15
"""Milliseconds for 30,000 years, and a whole number in every language. What is longer counts as no number: it would
be held without a bound."""


@dataclass(frozen=True, slots=True)
class SseEvent:
    """A block with data: what a client takes for an event.

    Attributes:
        data: its lines, joined by LF; "" for a priming event.
        event: its name as the stream gives it. Without a name it means `message`, and is kept apart from it all the
            same: Java clients drop an event that does not say so (modelcontextprotocol/java-sdk, pull request 913).
        id: None where there is no id line, "" where that line is empty.
        retry_milliseconds: how long a client shall wait before it reconnects; None where the block does not say.
    """

    data: str
    event: str = ""
    id: str | None = None
    retry_milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class SseBareBlock:
    """A block without a data line, and with at least one of the others; they mean what they mean in an event."""

    event: str = ""
    id: str | None = None
    retry_milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class SseComment:
    """One comment line, mostly there to keep the connection alive.

    Attributes:
        text: what follows the colon, less one space.
        continues: the line right before it is a comment too. That says where it stood and not what it is, so that it
            is neither compared nor written.
    """

    text: str
    continues: bool = field(default=False, compare=False)


SsePart = SseEvent | SseBareBlock | SseComment


class SseParser:
    """Feeds on bytes in any pieces, gives what they complete.

    Lines end with LF, CR or CR LF; a CR ends its line at once, and an LF that begins the next piece belongs to it.
    A byte order mark at the start is dropped. A block is complete with the empty line after it. A comment is complete
    with its own line, for it belongs to no block: some servers send nothing else for hours, and no empty line.

    Text is decoded once a block is whole: LF and CR are never part of a longer UTF-8 sequence, not even of a broken
    one, so decoding late and line by line gives what decoding the stream would.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._after_cr = False
        self._started = False
        self._last_line = b""  # its first byte, which tells whether it was a comment
        # The block that is not whole yet:
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._id: bytes | None = None
        self._retry: int | None = None

    @property
    def pending_bytes(self) -> int:
        """How much of a block that is not whole yet is held."""
        return len(self._line) + self._data_bytes + len(self._event) + len(self._id or b"")

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that `piece` completes, for those who look for messages."""
        return [part for part in self.read(piece) if type(part) is SseEvent]

    def read(self, piece: bytes) -> list[SsePart]:
        """All that `piece` completes, in its order."""
        if self._after_cr:
            if not piece:
                return []
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        lines = piece.splitlines()
        rest = lines.pop() if lines and not piece.endswith((b"\n", b"\r")) else b""
        if lines and (self._line or not self._started):
            lines[0] = self._first_line(lines[0])
        parts: list[SsePart] = []
        before = self._last_line
        for line in lines:
            if not line:
                self._end_block(parts)
            elif line[0] != _COLON:
                self._take(line)
            else:
                parts.append(SseComment(_text(line[1:].removeprefix(b" ")), before[:1] == b":"))
            before = line
        self._last_line = before[:1]
        if rest:
            self._line += rest
        return parts

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
        elif name == b"id":
            if b"\0" not in value:
                self._id = value
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:
            self._retry = int(value)

    def _end_block(self, parts: list[SsePart]) -> None:
        name, event_id, retry = self._event, self._id, self._retry
        if self._data:
            data = _text(b"\n".join(self._data))
            parts.append(SseEvent(data, _text(name), None if event_id is None else _text(event_id), retry))
            self._data = []
            self._data_bytes = 0
        elif name or event_id is not None or retry is not None:
            parts.append(SseBareBlock(_text(name), None if event_id is None else _text(event_id), retry))
        self._event = b""
        self._id = self._retry = None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def last_bytes(before: bytes, piece: bytes) -> bytes:
    """As many bytes of what ends with this piece as tell whether a block ended with them."""
    return piece[-_TAIL_BYTES:] if len(piece) >= _TAIL_BYTES else (before + piece)[-_TAIL_BYTES:]


def ends_block(tail: bytes) -> bool:
    """Whether something may be said after these last bytes, and belongs to no block that is not whole."""
    return tail.endswith(_BLOCK_ENDS)


def message_event(text: str) -> SseEvent:
    """A JSON-RPC message as an event. That takes no CR, which is a blank in JSON, as LF is."""
    return SseEvent(text.replace("\r", "\n"), event="message")


def encode(part: SsePart) -> bytes:
    """The bytes that `SseParser` reads as this part.

    Every part that was read can be written, data and names with NUL as well. The lines come in the order in which the
    SDKs' servers send them.

    Raises:
        ValueError: it cannot be written so: CR in data; CR or LF in an id, a name or a comment; NUL in an id; a lone
            surrogate; a wait below zero or beyond what the parser takes; a block that says nothing.
    """
    if isinstance(part, SseComment):
        return _line(b"", part.text) + b"\n"
    lines: list[bytes] = []
    if part.event:
        lines.append(_line(b"event", part.event))
    if part.id is not None:
        if "\0" in part.id:
            raise ValueError("an id with NUL: clients ignore it")
        lines.append(_line(b"id", part.id))
    if part.retry_milliseconds is not None:
        if not 0 <= part.retry_milliseconds < 10**_RETRY_DIGITS:
            raise ValueError(f"retry_milliseconds: from 0 on, with at most {_RETRY_DIGITS} digits")
        lines.append(b"retry: %d\n" % part.retry_milliseconds)
    if isinstance(part, SseEvent):
        lines += [_line(b"data", line) for line in part.data.split("\n")]
    if not lines:
        raise ValueError("a block that says nothing")
    return b"".join((*lines, b"\n"))


def _line(name: bytes, value: str) -> bytes:
    """One line. Clients take off one space after the colon, so that a value may begin with another."""
    if "\n" in value or "\r" in value:
        raise ValueError(f"a line break in {name.decode() or 'a comment'}")
    return b"%b: %b\n" % (name, value.encode())
