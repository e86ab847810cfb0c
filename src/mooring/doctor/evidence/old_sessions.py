"""Sessions of the older HTTP+SSE transport (2024-11-05): a stream, and messages that are posted to where it says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from yarl import URL

from mooring.core import jsonrpc
from mooring.doctor.client import protocol
from mooring.doctor.client.event_stream import stream_facts
from mooring.doctor.client.held_stream import HeldStream
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.redirects import same_origin
from mooring.doctor.examination import Examination

_STREAMS: Final = 6
_SECONDS: Final = 3.0
_ENDPOINT: Final = re.compile(rb"event: ?endpoint\r?\ndata: ?([^\r\n]+)")


@dataclass(frozen=True, slots=True)
class OldSession:
    """One stream, and the `initialize` that was posted for it over another connection.

    Attributes:
        posted: the answer to the POST; what matters comes on the stream.
        is_answered: it came there.
    """

    posted: Reply
    is_answered: bool


async def try_old_sessions(exam: Examination, url: URL) -> list[OldSession]:
    """Some of them, one after the other; each ends with its stream."""
    found = []
    for _ in range(_STREAMS):
        try:
            response = await exam.wire.open(
                "GET", headers={"Accept": protocol.EVENT_STREAM}, url=url, timeout_seconds=_SECONDS
            )
        except Exception:
            break
        stream = HeldStream(response)
        try:
            one = await _try(exam, url, stream)
        finally:
            await stream.close()
        if one is not None:
            found.append(one)
    return found


async def _try(exam: Examination, url: URL, stream: HeldStream) -> OldSession | None:
    if not await stream.until(lambda: _ENDPOINT.search(stream.body) is not None, _SECONDS):
        return None
    named = _ENDPOINT.search(stream.body)
    assert named is not None
    try:
        target = url.join(URL(named[1].decode("utf-8", errors="replace").strip()))
        is_here = same_origin(target, url)
    except ValueError:  # no URL, or one whose host cannot be decoded
        return None
    if not is_here:
        return None  # no token goes there
    message = protocol.initialize(exam.next_id(), protocol.LEGACY_VERSIONS[-1])
    posted = await exam.wire.send("POST", url=target, message=message, timeout_seconds=_SECONDS)
    is_answered = posted.is_ok and await stream.until(lambda: _has_answer(stream, message["id"]), _SECONDS)
    return OldSession(posted, is_answered)


def _has_answer(stream: HeldStream, request_id: int) -> bool:
    messages = map(jsonrpc.read_message, (event.data for event in stream_facts(stream.body).events))
    return any(message is not None and message.get("id") == request_id for message in messages)
