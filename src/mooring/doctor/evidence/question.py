"""A question to the deployment, in whatever era it speaks, sent until a node answers that knows the session.

What is odd about a request is for the check that asks; how it gets to the right node is here. Each goes over a new
connection, so that a connection which is closed for it is nobody else's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from mooring.doctor.client import protocol
from mooring.doctor.client.received import trouble_of
from mooring.doctor.client.reply import MAY_PASS, Outcome, Reply
from mooring.doctor.client.session import Session
from mooring.doctor.client.ways import Way
from mooring.doctor.client.wire import Headers
from mooring.doctor.examination import Examination

TRIES: Final = 24
"""Where nothing leads to a session's node, one of three is missed that often in a row once in seventeen thousand."""
_FEW_TRIES: Final = 4
"""The same where no call has ever missed it."""
_PADDING: Final = "mooring-doctor/padding"
"""In `_meta`, where any name may stand (2025-11-25, Basic: `_meta`)."""
_BEGINNING_BYTES: Final = 16 * 1024
_PIECE_BYTES: Final = 256 * 1024


async def with_one_retry(send: Callable[[], Awaitable[Reply]]) -> Reply:
    """What that request brings; it is sent once more where it failed, since any may fail once."""
    reply = await send()
    return await send() if reply.outcome in MAY_PASS else reply


def can_ask(exam: Examination) -> bool:
    """Not where a server that works with sessions has none open: without one, each request might open another."""
    return exam.first is not None or not exam.eras.gives_sessions


def tries_needed(exam: Examination) -> int:
    """How often to ask before a 404 is taken for the answer, and no longer for another node's."""
    never_lost = exam.calls and all(call.reply.outcome is not Outcome.LOST for call in exam.calls)
    return _FEW_TRIES if never_lost or not exam.eras.gives_sessions else TRIES


def question(exam: Examination, turn: int = 0, body_bytes: int = 0) -> tuple[dict[str, str], protocol.Message]:
    """A ping, or `server/discover` where only the modern era is spoken: its headers, and its message.

    Args:
        turn: every other one goes with the cookies of the session.
        body_bytes: the length that its body shall have; 0 for what it needs.
    """
    headers, message = request_in_era(exam, "ping" if exam.eras.legacy else "server/discover")
    session = _reachable(exam)
    if session is not None:
        headers = exam.sessions.headers(session, Way(cookies=turn % 2 == 0, one_connection=False))
    return headers, _padded(message, body_bytes) if body_bytes else message


def request_in_era(
    exam: Examination, method: str, params: Mapping[str, object] | None = None
) -> tuple[dict[str, str], protocol.Message]:
    """A request in an era that is spoken, and the headers that it needs beyond those of a session."""
    if not exam.eras.legacy:
        return protocol.modern(exam.next_id(), method, params, version=exam.eras.modern[0])
    headers = {} if exam.first is not None else {protocol.VERSION: next(iter(exam.eras.legacy.values()))}
    return headers, protocol.request(exam.next_id(), method, params)


def _reachable(exam: Examination) -> Session | None:
    """The first session that a call has ever reached over a new connection, or else the first.

    Not the last one, which is deleted meanwhile.
    """
    reached = {
        id(call.session) for call in exam.calls if not call.way.one_connection and call.reply.outcome is Outcome.REACHED
    }
    return next((session for session in exam.sessions.opened[:-1] if id(session) in reached), exam.first)


def _padded(message: protocol.Message, body_bytes: int) -> protocol.Message:
    params: dict[str, Any] = message.get("params", {})

    def with_padding(length: int) -> protocol.Message:
        return {**message, "params": {**params, "_meta": {**params.get("_meta", {}), _PADDING: "x" * length}}}

    return with_padding(max(0, body_bytes - len(json.dumps(with_padding(0)))))


async def ask_with_retry(
    exam: Examination, headers: Mapping[str, str] | None = None, *, token: int | None = 0
) -> Reply:
    """The same, once more where it failed; what is not odd at all is noted then."""
    reply = await ask(exam, headers, token=token)
    if reply.outcome not in MAY_PASS:
        return reply
    if not headers and token == 0:
        exam.note(reply)
    return await ask(exam, headers, token=token)


async def ask(
    exam: Examination,
    headers: Mapping[str, str] | None = None,
    *,
    token: int | None = 0,
    body_bytes: int = 0,
    pause_seconds: float = 0.0,
    most_tries: int | None = None,
    timeout_seconds: float | None = None,
) -> Reply:
    """Send the question until a node answers that knows the session; the last reply where none does.

    Args:
        headers: beyond those of the question.
        pause_seconds: how long to wait behind the beginning of the body. Whoever refuses it for its length answers
            then; while a client still sends, that answer is often lost with the connection.
    """
    reply = Reply()
    for turn in range(most_tries or tries_needed(exam)):
        needed, message = question(exam, turn, body_bytes)
        given, body = {**needed, **(headers or {})}, None
        if pause_seconds:
            whole = json.dumps(message).encode()
            given["Content-Length"], body = str(len(whole)), _with_pause(whole, pause_seconds)
        reply = await exam.wire.send(
            "POST", message=message, data=body, headers=given, token=token, timeout_seconds=timeout_seconds
        )
        if reply.outcome is not Outcome.LOST:
            break
    return reply


async def is_gone(exam: Examination, session: Session) -> bool:
    """Whether no node that is asked knows that session any more."""
    for turn in range(tries_needed(exam)):
        reply = await exam.sessions.ping(session, Way(cookies=turn % 2 == 0, one_connection=False))
        if reply.outcome is not Outcome.LOST:
            return False
    return True


async def ask_in(exam: Examination, session_id: str, version: str, *, token: int = 0) -> Reply:
    """A ping under that session id, whoever gave it out, without cookies and once."""
    headers = {protocol.SESSION: session_id, protocol.VERSION: version}
    message = protocol.request(exam.next_id(), "ping")
    return await exam.wire.send("POST", message=message, headers=headers, token=token)


async def _with_pause(whole: bytes, seconds: float) -> AsyncIterator[bytes]:
    yield whole[:_BEGINNING_BYTES]
    await asyncio.sleep(seconds)
    for start in range(_BEGINNING_BYTES, len(whole), _PIECE_BYTES):
        yield whole[start : start + _PIECE_BYTES]


async def head_of_answer(exam: Examination, method: str, headers: Headers) -> Reply:
    """The head of the answer alone: a GET that is served is a stream without an end."""
    try:
        response = await exam.wire.open(method, headers=headers)
    except Exception as error:
        return Reply(trouble=trouble_of(error), detail=str(error))
    response.close()
    return Reply(status=response.status, headers=response.headers)
