"""Calls in every session, in each of four ways; what else they are compared with; and some strictly in turn."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import Final

from mooring.doctor.client.reply import FAILURES, Outcome
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import HOME, WAYS, Way
from mooring.doctor.evidence.failure_pattern import turn_of
from mooring.doctor.evidence.references import References, disguise_of, is_error
from mooring.doctor.examination import Call, Examination

WAY_SECONDS: Final = 10.0
"""For the calls of one way; a slow deployment gets fewer calls in each rather than none in the last."""
_SLOW_SESSIONS: Final = 3
_SLOW_SECONDS: Final = 8.0
"""For the calls of one way where each request has to wait for its turn."""
_IN_TURN: Final = 12
_LONG_SECONDS: Final = 1.0
_AGAIN: Final = 4


async def make_calls(exam: Examination) -> None:
    """One way after the other: mixed, a turn of the load balancer could fall in step with them.

    Where calls went out again and again, as if their rate had been refused, and it was something else, all are made
    once more, without that.
    """
    was_slow = exam.wire.pace.is_slow or not exam.wire.pace.is_given_up
    await _make_all(exam)
    if was_slow and exam.wire.pace.is_given_up:
        exam.calls.clear()
        await _make_all(exam)


async def _make_all(exam: Examination) -> None:
    seconds = max(WAY_SECONDS, exam.plan.timeout_seconds + 1.0)
    for number, way in enumerate(WAYS, 1):
        exam.listener.step(f"affinity: {way.name} ({number} of {len(WAYS)})")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds if not exam.wire.pace.is_slow else 2 * seconds):
                await _make(exam, way)
        if exam.wire.is_halted:
            exam.no_calls = "calls open new sessions here"
            return
        if exam.calls and all(call.reply.outcome is Outcome.HANG for call in exam.calls):
            exam.no_calls = "calls hang here"
            return
    if any(call.reply.outcome is not Outcome.REACHED for call in exam.calls):
        # Is the first connection still as good as it was at first?
        await asyncio.gather(*(_use(exam, session, HOME, 1) for session in _with_lane(exam)[:_AGAIN]))


async def _make(exam: Examination, way: Way) -> None:
    sessions, count = list(exam.sessions.opened), exam.plan.calls
    if not exam.wire.pace.is_slow:
        fit = [session for session in sessions if not (way.one_connection and session.lane.was_dropped)]
        await asyncio.gather(*(_use(exam, session, way, count) for session in fit))
        return
    # A limit on the number of connections counts those that are kept: one of them has to do.
    sessions = sorted(sessions, key=lambda session: session.lane.was_dropped)[:_SLOW_SESSIONS]
    interval = exam.wire.pace.interval_seconds
    count = max(1, min(count, int(_SLOW_SECONDS / interval / len(sessions))))
    for session in sessions:
        if way.one_connection and session.lane.was_dropped:
            continue
        await _use(exam, session, way, count)


def _with_lane(exam: Examination) -> list[Session]:
    """The sessions whose first connection is still there."""
    return [session for session in exam.sessions.opened if not session.lane.was_dropped]


async def _use(exam: Examination, session: Session, way: Way, count: int) -> None:
    for _ in range(count):
        reply = await exam.call(session, way)
        if reply.outcome is Outcome.UNSENT:
            return
        exam.calls.append(Call(session, way, reply))
        if reply.outcome is Outcome.HANG or (reply.outcome in FAILURES and reply.seconds > _LONG_SECONDS):
            return  # each further one may take as long


async def see_through_disguise(exam: Examination) -> None:
    """Find out whether calls that failed oddly are answered as those of a session that never was; marks them then."""
    odd = (Outcome.ODD, Outcome.UNAVAILABLE, Outcome.LOGIN)
    if not any(call.reply.outcome in odd or is_error(call.reply) for call in exam.calls):
        return
    reached = [call for call in exam.calls if call.reply.outcome is Outcome.REACHED and not is_error(call.reply)]
    reached_on = {call.way.one_connection for call in reached}
    if False not in reached_on:  # what refuses every other connection refuses strangers in the same way
        return
    look = disguise_of(await exam.shared(References).strangers())
    if look is None:
        return
    exam.wire.looks_lost = frozenset({look})
    exam.calls[:] = [
        dataclasses.replace(call, reply=dataclasses.replace(call.reply, is_disguised=True))
        if call.reply.look == look
        else call
        for call in exam.calls
    ]


async def calls_in_turn(exam: Examination) -> list[bool]:
    """Whether each of some calls failed that were sent strictly one after the other, over new connections."""
    session = exam.first
    if session is None or exam.hangs or exam.wire.pace.is_slow:
        return []
    failed = []
    for _ in range(_IN_TURN):
        reply = await exam.call(session, Way(cookies=True, one_connection=False))
        failed.append(reply.outcome is not Outcome.REACHED)
        if reply.outcome is Outcome.HANG:
            return []
        if reply.seconds > _LONG_SECONDS and turn_of(failed):
            break  # it is regular, and each round takes as long
    return failed
