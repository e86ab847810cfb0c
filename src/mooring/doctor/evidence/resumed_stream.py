"""A ping's stream, and what comes for a GET with its first event id (2025-11-25, Transports: Resumability)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from mooring.core import jsonrpc
from mooring.doctor.client import protocol
from mooring.doctor.client.event_stream import StreamFacts, stream_facts
from mooring.doctor.client.held_stream import HeldStream, reach_stream
from mooring.doctor.client.reply import Outcome, Reply
from mooring.doctor.client.session import Session
from mooring.doctor.evidence.question import request_in_era, tries_needed
from mooring.doctor.evidence.timed_call import headers_by_turn, timed_call
from mooring.doctor.examination import Examination

REPLAY_SECONDS: Final = 2.0
"""How long what was missed is waited for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The ping whose stream is taken up again."""

    request_id: int
    version: str
    reply: Reply
    facts: StreamFacts = field(default_factory=lambda: stream_facts(b""))


@dataclass(frozen=True, slots=True)
class Resumed:
    """What came for the GET with Last-Event-ID.

    Attributes:
        reply: its head, with what came until the answer was there, or for a while.
        answers: the ids of the JSON-RPC answers in it.
        may_be_lost: calls miss the node of their session here, so that a 404 may be another node's.
    """

    reply: Reply
    answers: tuple[Any, ...] = ()
    may_be_lost: bool = False
    seconds: float = 0.0


async def ask(exam: Examination, session: Session) -> Asked:
    """Send a ping in the first session, and keep what its stream says of itself."""
    headers, message = request_in_era(exam, "ping")
    reply = (await timed_call(exam, headers, message)).reply
    facts = stream_facts(reply.body if reply.media_type == protocol.EVENT_STREAM else b"")
    return Asked(message["id"], session.version, reply, facts)


async def resume(exam: Examination, asked: Asked) -> Resumed:
    """Take the stream up again from its first event id."""
    headers = headers_by_turn(exam, {"Accept": protocol.EVENT_STREAM, "Last-Event-ID": asked.facts.ids[0]})
    stream = await reach_stream(exam.wire, headers, tries=tries_needed(exam), seconds=exam.plan.timeout_seconds)
    if stream.is_stream:
        await stream.until(lambda: asked.request_id in _answers(stream), REPLAY_SECONDS)
    reply, answers = stream.reply, _answers(stream)
    await stream.close()
    may_be_lost = any(one.reply.outcome is Outcome.LOST for one in exam.calls)
    return Resumed(reply, answers, may_be_lost, stream.arrivals[-1].seconds if stream.arrivals else 0.0)


def _answers(stream: HeldStream) -> tuple[Any, ...]:
    """The ids of the JSON-RPC answers on it."""
    messages = map(jsonrpc.read_message, (event.data for event in stream_facts(stream.body).events))
    return tuple(message.get("id") for message in messages if message is not None and jsonrpc.is_answer(message))
