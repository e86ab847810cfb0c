"""One request and all that came of it, with the time of each piece; sent until it meets the node of its session."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mooring.core.sse import SseParser
from mooring.doctor.client import protocol
from mooring.doctor.client.held_stream import Arrival, HeldStream, reach_stream
from mooring.doctor.client.received import END_SECONDS
from mooring.doctor.client.reply import Reply
from mooring.doctor.client.ways import Way
from mooring.doctor.evidence.question import tries_needed
from mooring.doctor.examination import Examination

_LONG_SECONDS: Final = 1.0
"""A call that takes less tells nothing: its events may come together by right."""
_MANY: Final = 3
"""Events of one call. A tool may well report once, right before its answer."""
_TOGETHER: Final = 0.1
"""The share of a call's time in which all of its events came, where they were kept back."""


@dataclass(frozen=True, slots=True)
class TimedCall:
    """A POST that was answered, or not. Times are in seconds from its request.

    Attributes:
        reply: all of it, to shortly after the answer.
        is_answered: the answer is there.
        arrivals: its pieces.
    """

    reply: Reply
    is_answered: bool = True
    arrivals: tuple[Arrival, ...] = ()

    @property
    def head_seconds(self) -> float:
        return self.reply.first_byte_seconds

    @property
    def seconds(self) -> float:
        """To the last piece."""
        return self.arrivals[-1].seconds if self.arrivals else 0.0

    @property
    def event_seconds(self) -> tuple[float, ...]:
        """When each event came; those of one piece came together."""
        parser = SseParser()
        return tuple(arrival.seconds for arrival in self.arrivals for _ in parser.feed(arrival.data))

    @property
    def is_stream(self) -> bool:
        return self.reply.media_type == protocol.EVENT_STREAM

    @property
    def is_burst(self) -> bool:
        """It took long, and brought many events, and none before the end."""
        times = self.event_seconds
        return len(times) >= _MANY and self.seconds > _LONG_SECONDS and times[0] >= (1 - _TOGETHER) * self.seconds

    @property
    def passes(self) -> bool:
        """It took long, and an event came meanwhile."""
        times = self.event_seconds
        return bool(times) and self.seconds > _LONG_SECONDS and times[0] < (1 - _TOGETHER) * self.seconds


def headers_by_turn(exam: Examination, more: Mapping[str, str]) -> Callable[[int], dict[str, str]]:
    """For each turn the headers of the first session, where there is one: every other time with its cookies."""
    session = exam.first

    def headers(turn: int) -> dict[str, str]:
        way = Way(cookies=turn % 2 == 1, one_connection=False)
        return {**(exam.sessions.headers(session, way) if session is not None else {}), **more}

    return headers


async def timed_call(exam: Examination, headers: Mapping[str, str], message: protocol.Message) -> TimedCall:
    """POST it over a new connection, and read until it is answered or the plan's time is up; never raises."""
    seconds = exam.plan.timeout_seconds
    stream = await reach_stream(
        exam.wire, headers_by_turn(exam, headers), message, tries=tries_needed(exam), seconds=seconds
    )
    try:
        if await stream.until(lambda: _is_answered(stream, message["id"]), seconds - stream.age_seconds):
            await stream.wait(END_SECONDS)
    finally:
        await stream.close()
    answer = protocol.answer(stream.body, stream.media_type, message["id"])
    reply = dataclasses.replace(stream.reply, message=answer)
    return TimedCall(reply, stream.status == 200 and _is_answered(stream, message["id"]), tuple(stream.arrivals))


def _is_answered(stream: HeldStream, request_id: int) -> bool:
    answer = protocol.answer(stream.body, stream.media_type, request_id)
    return answer is not None and answer.get("id") == request_id
