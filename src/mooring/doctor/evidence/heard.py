"""What was heard on a stream that was left alone: when, how much of it at once, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mooring.doctor.client import protocol
from mooring.doctor.client.event_stream import StreamFacts
from mooring.doctor.client.held_stream import Arrival, End, facts_of
from mooring.doctor.client.reply import Reply

_AT_ONCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05
"""What comes sooner than that came together, or right after the request."""
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard on the stream. Times are in seconds from its request.

    Attributes:
        reply: its head, or the refusal.
        head_seconds: when that came; None where none came until the end.
        held_seconds: how long we left it alone. What came after that was set free by the end of the session.
        end: how it ended, by itself or with the session; None where it did not.
        is_session_ended: we had the session ended.
    """

    reply: Reply
    head_seconds: float | None
    held_seconds: float
    arrivals: tuple[Arrival, ...] = ()
    end: End | None = None
    ended_seconds: float = 0.0
    is_session_ended: bool = False

    @property
    def is_stream(self) -> bool:
        return self.reply.status == 200 and self.reply.media_type == protocol.EVENT_STREAM

    @property
    def is_refused(self) -> bool:
        """There is no stream; one whose head has not come yet may still be one."""
        return not self.is_stream and (self.reply.status != 0 or self.end is not None)

    @property
    def ended_early(self) -> bool:
        """It ended by itself, before we had anything ended."""
        return self.end is not None and self.ended_seconds <= self.held_seconds

    @property
    def early(self) -> StreamFacts:
        """What came while it was held."""
        return facts_of([arrival for arrival in self.arrivals if arrival.seconds <= self.held_seconds])

    @property
    def flushed(self) -> StreamFacts:
        """What came with the end of the session."""
        return facts_of([arrival for arrival in self.arrivals if arrival.seconds > self.held_seconds])

    @property
    def age_seconds(self) -> float:
        """How old it became by itself, or while we held it."""
        return self.ended_seconds if self.ended_early else self.held_seconds

    @property
    def silences(self) -> tuple[float, ...]:
        """How long nothing came, each time until something did."""
        times = self._early_seconds
        gaps = (after - before for before, after in zip([0.0, *times], times, strict=False))
        return tuple(gap for gap in gaps if gap >= _PAUSE_SECONDS)

    @property
    def last_silence_seconds(self) -> float:
        """How long nothing had come when it ended, or when we stopped holding it."""
        return self.age_seconds - max(self._early_seconds, default=0.0)

    @property
    def _early_seconds(self) -> list[float]:
        return [arrival.seconds for arrival in self.arrivals if arrival.seconds <= self.held_seconds]

    @property
    def is_held_back(self) -> bool:
        """What must have been sent at several times came all at once, with the end of the session."""
        return self.is_session_ended and self.early.sendings == 0 and self.flushed.sendings > 1

    @property
    def passes(self) -> bool:
        """Something came while the stream went on."""
        until = self.age_seconds - _PAUSE_SECONDS
        return facts_of([arrival for arrival in self.arrivals if arrival.seconds < until]).sendings > 0

    @property
    def is_head_late(self) -> bool:
        """The head came only with what was sent first, or with the end; it belongs at the beginning."""
        if not self.is_stream or self.head_seconds is None or self.head_seconds <= _AT_ONCE_SECONDS:
            return False
        with_first = any(arrival.seconds - self.head_seconds < _PAUSE_SECONDS for arrival in self.arrivals[:1])
        return with_first or self.head_seconds > self.held_seconds

    def numbers(self) -> dict[str, Any]:
        """It as evidence."""
        return {
            "status": self.reply.status,
            "head_seconds": None if self.head_seconds is None else round(self.head_seconds, 3),
            "age_seconds": round(self.age_seconds, 2),
            "end": str(self.end) if self.end is not None else None,
            "ended_by_itself": self.ended_early,
            "comments": self.early.comments,
            "events": len(self.early.events),
            "silences_seconds": [round(one, 2) for one in (*self.silences, self.last_silence_seconds)][:_SHOWN],
            "sent_at_the_end": self.flushed.sendings if self.is_session_ended else None,
        }
