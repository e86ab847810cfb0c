"""An event store for the official SDK, both generations."""

from collections import deque
from typing import Final

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage

RETRY_MILLISECONDS: Final = 200
_KEPT_EVENTS: Final = 10_000


class MemoryEventStore(EventStore):
    """Keeps the latest events of all streams, so that a client may resume the stream that a tool closed.

    The SDK names a stream by its request id and does not say of which session. Two sessions' streams may so have one
    name, and a resumed stream may replay another session's events: one client at a time may resume here.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[int, str, JSONRPCMessage | None]] = deque(maxlen=_KEPT_EVENTS)
        self._last_id = 0

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._last_id += 1
        self._events.append((self._last_id, stream_id, message))
        return str(self._last_id)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        last_seen = int(last_event_id) if last_event_id.isdecimal() else -1
        stream = next((stream_id for event_id, stream_id, _ in self._events if event_id == last_seen), None)
        for event_id, stream_id, message in list(self._events):
            # A priming event has no message and is not replayed.
            if stream_id == stream and event_id > last_seen and message is not None:
                await send_callback(EventMessage(message, str(event_id)))
        return stream
