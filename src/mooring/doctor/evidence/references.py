"""What answers are compared with: those to a session that never was, and to a call that names none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from mooring.doctor.client import protocol
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.evidence.forged_ids import invented_like
from mooring.doctor.examination import Examination, Shared

_TIMES: Final = 6


class References(Shared):
    """Both, asked once in a run."""

    def __init__(self, exam: Examination) -> None:
        super().__init__(exam)
        self._lock = asyncio.Lock()  # held by whoever asks first
        self._strangers: tuple[Reply, ...] | None = None
        self._nameless: Reply | None = None

    async def strangers(self) -> tuple[Reply, ...]:
        """To pings in sessions that never were, over new connections; none where only reading is allowed."""
        exam = self._exam
        async with self._lock:
            if self._strangers is None:
                session = exam.first
                if session is None or exam.plan.read_only:
                    self._strangers = ()
                else:
                    sent = [await self._ask(invented_like(session.id), session.version) for _ in range(_TIMES)]
                    self._strangers = tuple(reply for reply in sent if reply.outcome is not Outcome.UNSENT)
            return self._strangers

    async def nameless(self) -> Reply:
        """To a ping that names no session; an empty one where that might open a session too many."""
        async with self._lock:
            if self._nameless is None and self._exam.sessions.room < 1:
                return Reply()
            if self._nameless is None:
                self._nameless = await self._exam.call_without_session()
            return self._nameless

    async def _ask(self, session_id: str, version: str) -> Reply:
        headers = {protocol.SESSION: session_id, protocol.VERSION: version}
        message = protocol.request(self._exam.next_id(), "ping")
        return await self._exam.wire.send("POST", message=message, headers=headers)


def disguise_of(strangers: Sequence[Reply]) -> tuple[str, str, str] | None:
    """How an unknown session is answered, where every node does it alike and it is no plain refusal."""
    looks = {reply.look for reply in strangers}
    plain = (Outcome.REACHED, Outcome.LOST, Outcome.THROTTLED, Outcome.HANG, Outcome.CUT)
    if len(strangers) < _TIMES or len(looks) != 1:
        return None
    is_refused = strangers[0].outcome is Outcome.REACHED and is_error(strangers[0])
    return None if strangers[0].outcome in plain and not is_refused else strangers[0].look


def is_error(reply: Reply) -> bool:
    """An error of JSON-RPC, whatever its status."""
    return protocol.error_code(reply.message) is not None


def is_nameless(reply: Reply, nameless: Reply, strangers: Sequence[Reply]) -> bool:
    """Whether a call was answered as one that names no session, and not as one of a session that is unknown."""
    return (
        reply.look == nameless.look
        and nameless.outcome is not Outcome.REACHED
        and bool(strangers)
        and all(stranger.look != nameless.look for stranger in strangers)
    )
