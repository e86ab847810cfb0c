"""How a silent stream ended, and more streams that are held to be sure of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from mooring.doctor.client.held_stream import End
from mooring.doctor.evidence.heard import Heard
from mooring.doctor.evidence.silent_streams import SilentStreams
from mooring.doctor.examination import Examination

_CONFIRMED_TO_SECONDS: Final = 40.0
"""What was cut later is not tried again: it would take too long."""
_REPEATED_FOR: Final = 1.3
_SOONER: Final = 0.75
_FRESH_SECONDS: Final = 0.3
GIVEN_UP_SECONDS: Final = 1.5
"""A refusal that takes longer is a limit on time."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Streams held after the first one, to be sure of what it showed.

    Attributes:
        repeat: held for a little longer than the first one lived.
        sooner: whose session was ended a while before that age.
        fresh: whose session was ended right away.
    """

    repeat: Heard | None = None
    sooner: Heard | None = None
    fresh: Heard | None = None


async def probe(exam: Examination, heard: Heard) -> Probes:
    """Hold more streams, where the first one leaves a doubt."""
    age = heard.age_seconds
    if age > _CONFIRMED_TO_SECONDS:
        return Probes()
    if is_cut(heard):
        exam.listener.step(f"a stream was cut after {age:.0f} s: is the next one too?")
        repeat, sooner = await asyncio.gather(_hold(exam, age * _REPEATED_FOR), _hold(exam, age * _SOONER))
        return Probes(repeat, sooner)
    if is_unendable(heard):
        sooner, fresh = await asyncio.gather(_hold(exam, age * _SOONER), _hold(exam, _FRESH_SECONDS))
        return Probes(None, sooner, fresh)
    return Probes()


async def _hold(exam: Examination, seconds: float) -> Heard | None:
    heard = await exam.shared(SilentStreams).hear(seconds)
    return heard if heard is not None and (heard.is_stream or is_cut(heard)) else None


def is_cut(heard: Heard) -> bool:
    """It ended with its connection, nobody had asked for its end, and it was not refused right away."""
    return heard.ended_early and heard.end is End.CUT and (heard.is_stream or heard.age_seconds >= GIVEN_UP_SECONDS)


def is_unendable(heard: Heard | None) -> bool:
    """It seemed to live, but its end did not come through."""
    return heard is not None and heard.is_session_ended and not heard.ended_early and heard.end is End.CUT


def is_by_age(heard: Heard, probes: Probes) -> bool:
    """Whether it was cut for its age; else it may have been cut for its silence, or for either."""
    survived = max(heard.silences, default=0.0)
    return survived >= 0.95 * heard.last_silence_seconds or is_unendable(probes.sooner)
