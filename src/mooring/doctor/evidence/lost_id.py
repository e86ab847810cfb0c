"""Whether an answer to `initialize` that names no session comes from a server without sessions, or has lost the id.

Who works without sessions serves a call that names none. Who keeps them refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.examination import Examination

_LIKE_AN_ID: Final = re.compile(r"[\x21-\x7e]{16,}")
_NO_ID: Final = re.compile(
    r"date|etag|set-cookie|.*(request|trace|span|correlation|ray|nonce|timing|policy|csp|www-auth).*|traceparent|server"
    r"|x-amz.*|x-azure.*|content-.*|access-control-.*|report-to|nel|strict-transport.*|location|link|via|age|vary",
    re.IGNORECASE,
)
_ASKS: Final = 2


async def find_lost_id(exam: Examination) -> None:
    """Ask without an id; fills `Eras.id_is_lost`."""
    answers = list[Reply]()
    for _ in range(_ASKS):
        answers.append(await exam.call_without_session())
        if answers[-1].outcome is Outcome.REACHED:
            return
    exam.eras.id_is_lost = all(is_for_want_of_an_id(reply) for reply in answers)


def note_lost_id(exam: Examination) -> None:
    """Fills `Eras.id_header`, and counts the sessions that nobody can close."""
    exam.eras.id_header = like_an_id(exam.sessions.sessionless)
    # Some servers open one for a call that names none, too.
    exam.sessions.unseen = len(exam.sessions.sessionless) + _ASKS
    exam.no_calls = "the session id is lost on its way to clients"


def is_for_want_of_an_id(reply: Reply) -> bool:
    """Whether a call was refused because it named no session: 400 is due (2025-11-25, Transports: Session Management),
    and some say 404, or put their error into a 200."""
    if reply.trouble is not None or reply.outcome in (Outcome.LOGIN, Outcome.THROTTLED, Outcome.UNAVAILABLE):
        return False
    return reply.outcome is Outcome.LOST or (reply.status == 400 and bool(protocol.error_text(reply.message)))


def like_an_id(openings: Sequence[Reply]) -> str:
    """The header that holds something like a session id: long, and another one each time; empty where none does."""
    for name in dict.fromkeys(name.title() for reply in openings for name in reply.headers):
        values = [reply.headers.get(name, "") for reply in openings]
        if _NO_ID.fullmatch(name) or len(set(values)) < len(values):
            continue
        if ("session" in name.lower() or len(values) > 1) and all(_LIKE_AN_ID.fullmatch(value) for value in values):
            return name
    return ""
