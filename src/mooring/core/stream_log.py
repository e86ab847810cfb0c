"""What went out on one stream, to say it again to a client that comes back: a ring, bounded in events and bytes.

a client that has seen   gets
-----------------------  ----------------------------------------------------------------
an event in the ring     all that follow
the last one             nothing, and what is still to come
one before the ring      a gap: how it is told is for the caller; then all that is there
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from mooring.core.stream_ids import Place


class LoggedEvent(NamedTuple):
    """
    Attributes:
        data: the event as it goes over the wire, its id with it; None where it was too large to keep.
    """

    place: Place
    data: bytes | None


class StreamLog:
    """
    Attributes:
        size: bytes that are held.
        last: the place of the last event, whether or not it is still held.
        skipped: how many events were said elsewhere that are not known here.

    Args:
        most_events, most_bytes: beyond these the oldest are let go. One event that is larger than that is not kept.
    """

    def __init__(self, last: Place, most_events: int, most_bytes: int) -> None:
        self.size = 0
        self.last = last
        self.skipped = 0
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._events: deque[LoggedEvent] = deque()
        # The place of the last event that was let go, or skipped.
        self._gone = last

    def next_place(self, epoch: int) -> Place:
        """Where the next event stands, written at this epoch: it is counted on, so that whoever has seen it has seen as
        many before."""
        return Place(epoch, self.last.number + 1)

    def add(self, place: Place, data: bytes) -> LoggedEvent:
        """
        Raises:
            ValueError: it does not stand after the last one.
        """
        if place <= self.last:
            raise ValueError("events stand in order")
        self.last = place
        event = LoggedEvent(place, data if len(data) <= self._most_bytes else None)
        self._keep(event)
        return event

    def _keep(self, event: LoggedEvent) -> None:
        self._events.append(event)
        self.size += len(event.data or b"")
        while len(self._events) > self._most_events or self.size > self._most_bytes:
            self.drop_oldest()

    def restore(self, event: LoggedEvent) -> None:
        """Take in what was said elsewhere, in its order; what stands before the last one is known already.

        One that is missing between two is marked as lost.
        """
        if event.place <= self.last:
            return
        if event.place.number > self.last.number + 1:
            self._keep(LoggedEvent(Place(self.last.epoch, event.place.number - 1), None))
        self.last = event.place
        self._keep(event)

    def skip_to(self, place: Place) -> None:
        """What is said next stands after this place at least, up to which somebody has heard what is not known here."""
        if place > self.last:
            self.skipped = max(0, place.number - self.last.number)
            self._gone = self.last = place

    def everything(self) -> list[LoggedEvent]:
        """All that is held."""
        return list(self._events)

    def drop_oldest(self) -> bool:
        """Let the oldest event go; returns whether there was one."""
        if not self._events:
            return False
        gone = self._events.popleft()
        self._gone = max(self._gone, gone.place)
        self.size -= len(gone.data or b"")
        return True

    def holds_all_after(self, place: Place) -> bool:
        """Whether nothing is missing that followed this place."""
        return place >= self._gone and all(event.data is not None for event in self.after(place))

    def after(self, place: Place) -> Iterator[LoggedEvent]:
        """What followed this place, as far as it is held."""
        return (event for event in self._events if event.place > place)
