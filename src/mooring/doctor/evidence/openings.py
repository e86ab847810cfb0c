"""New sessions, opened a few at a time, and what each `initialize` was answered with.

    one session, and some calls in it ──> four at a time, each with a call ──> refused? close one, and open one again

So it shows early where calls open sessions of their own (`Wire.strays`), or where only so many sessions may be open.
"""

from __future__ import annotations

import asyncio
from typing import Final

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.session import Attempt, Session
from mooring.doctor.client.ways import WAYS
from mooring.doctor.client.wire import Carried
from mooring.doctor.evidence.references import References
from mooring.doctor.examination import Examination, Shared

_AT_ONCE: Final = 4
_LONG_SECONDS: Final = 0.7
_FOR_STRAYS: Final = 4
"""So much room is left where calls open sessions now and then."""
_REFUSED_IN_A_ROW: Final = 6
"""So many refusals one after the other, and no more are asked for: they are enough to tell."""
_SLOW_SESSIONS: Final = 4
"""So many are enough where each request has to wait for its turn."""


class Openings(Shared):
    """What the opening of sessions has shown beyond the replies that `Sessions.attempts` keeps.

    Attributes:
        reopened: another session could be opened once one was closed; None where that was not tried.
        held: how many sessions were open when the next was refused.
        again: the openings that were tried after one was closed.
    """

    def __init__(self, exam: Examination) -> None:
        super().__init__(exam)
        self.reopened: bool | None = None
        self.held = 0
        self.again: list[Attempt] = []


async def open_sessions(exam: Examination, most: int | None = None) -> None:
    """Open sessions until `most` are open, or there is no more room; a few of the older versions, which come last in
    `Sessions.opened`.
    """
    count = exam.sessions.room
    if most is not None:
        count = min(count, most - len(exam.sessions.opened))
    older = protocol.LEGACY_VERSIONS[1:] if count >= 2 * len(protocol.LEGACY_VERSIONS) else ()
    versions = [*([protocol.LEGACY_VERSIONS[0]] * (count - len(older))), *older][: max(0, count)]
    while versions and not _is_enough(exam):
        at_once = _AT_ONCE if _is_harmless(exam) else 1
        wave, versions = versions[:at_once], versions[at_once:]
        opened = await asyncio.gather(*(_open(exam, version) for version in wave))
        for asked, session in zip(wave, opened, strict=True):
            if session is not None:
                exam.eras.legacy[asked] = session.version
    await _try_again(exam)
    exam.sessions.opened.sort(key=lambda session: session.version, reverse=True)


def _is_harmless(exam: Examination) -> bool:
    """Some were opened, and nothing was seen that speaks against more at once."""
    careful = exam.wire.pace.opens_slowly or any(exam.wire.strays.values())
    return not careful and len(exam.sessions.attempts) >= _AT_ONCE


def _is_enough(exam: Examination) -> bool:
    pace = exam.wire.pace
    slow_enough = pace.opens_slowly and len(exam.sessions.opened) >= _SLOW_SESSIONS and not pace.is_in_doubt
    strays = exam.wire.strays[Carried.KNOWN]
    if exam.wire.is_halted or slow_enough or (strays and exam.sessions.room <= _FOR_STRAYS):
        return True
    last = exam.sessions.attempts[-_REFUSED_IN_A_ROW:]
    return len(last) == _REFUSED_IN_A_ROW and all(attempt.is_refused for attempt in last)


async def _open(exam: Examination, version: str) -> Session | None:
    session = await exam.sessions.open(version)
    hangs = any(reply.outcome is Outcome.HANG for reply in exam.failed)
    if session is not None and not hangs:
        reply = await exam.sessions.ping(session, WAYS[-1])
        session.was_reached = reply.outcome is Outcome.REACHED
        exam.note(reply)
    return session


async def try_calls(exam: Examination, session: Session) -> None:
    """One call in each way, one after the other: does any of them open a session?"""
    replies = list[Reply]()
    for way in WAYS:
        replies.append(await exam.sessions.ping(session, way))
        if replies[-1].seconds > _LONG_SECONDS and replies[-1].outcome is not Outcome.LOST:
            break  # each further one would take as long, and sessions are opened one by one anyway
    session.was_reached = all(reply.outcome is Outcome.REACHED for reply in replies)
    for reply in replies:
        exam.note(reply)
    if all(reply.outcome is Outcome.LOST for reply in replies):
        await exam.shared(References).nameless()  # while there is room for the session that this may open


async def _try_again(exam: Examination) -> None:
    """Where the last ones were refused, close one session and open another: a limit on their number shows so."""
    attempts = exam.sessions.attempts
    last = attempts[-2:]
    if (
        len(exam.sessions.opened) < 2
        or len(last) < 2
        or not all(_may_be_full(attempt.reply.outcome) for attempt in last)
    ):
        return
    if not all(attempt.is_refused for attempt in last) or exam.wire.is_halted:
        return
    facts = exam.shared(Openings)
    facts.held = len(exam.sessions.opened)
    before = len(attempts)
    closed = await exam.sessions.close(exam.sessions.opened[-1])
    if closed.is_ok and exam.sessions.room > 0:
        await exam.sessions.open()
        facts.again = attempts[before:]
        facts.reopened = bool(facts.again) and not facts.again[-1].is_refused


def _may_be_full(outcome: Outcome) -> bool:
    return outcome not in (Outcome.HANG, Outcome.CUT, Outcome.LOGIN)
