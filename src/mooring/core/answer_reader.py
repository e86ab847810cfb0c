"""The answer to a request, found in a response that passes by: as JSON, or in an event stream."""

from __future__ import annotations

from typing import Final

from mooring.core import jsonrpc
from mooring.core.sse import SseParser

LIMIT_BYTES: Final = 1024 * 1024
"""In which an answer is looked for: of JSON that is not whole, or of one event."""


class AnswerReader:
    """
    Args:
        in_events: the response is an event stream.

    Attributes:
        message: the answer, once it was read.
        body: what came of a response in JSON.
    """

    def __init__(self, *, in_events: bool) -> None:
        self.message: jsonrpc.Message | None = None
        self.body = bytearray()
        self._events = SseParser() if in_events else None

    def feed(self, piece: bytes) -> bool:
        """Whether there is nothing more to wait for: the answer was read, or is larger than any should be."""
        if self._events is not None:
            return any(self._read(event.data) for event in self._events.feed(piece)) or (
                self._events.pending_bytes > LIMIT_BYTES
            )
        self.body += piece
        return self._read(self.body) or len(self.body) > LIMIT_BYTES

    @property
    def is_in_event(self) -> bool:
        """Whether an event has begun that is not whole."""
        return self._events is not None and self._events.pending_bytes > 0

    def _read(self, data: str | bytearray) -> bool:
        """Whether this is the answer, and whole."""
        message = jsonrpc.read_message(data)
        if message is None or not jsonrpc.is_answer(message):
            return False
        self.message = message
        return True
