"""What was heard on streams that nobody held, for what is judged without a network."""

from __future__ import annotations

from multidict import CIMultiDict, CIMultiDictProxy

from mooring.doctor.client.held_stream import Arrival, End
from mooring.doctor.client.reply import Reply
from mooring.doctor.evidence.heard import Heard

PING = b": ping\r\n\r\n"


def head(status: int = 200, media_type: str = "text/event-stream", encoding: str = "", body: bytes = b"") -> Reply:
    headers = CIMultiDict({"Content-Type": media_type})
    if encoding:
        headers["Content-Encoding"] = encoding
    return Reply(status=status, headers=CIMultiDictProxy(headers), body=body)


def pings(*seconds: float) -> tuple[Arrival, ...]:
    """A comment at each of these times."""
    return tuple(Arrival(one, PING) for one in seconds)


def held(
    seconds: float = 35.0,
    *arrivals: Arrival,
    head_seconds: float | None = 0.01,
    end: End = End.CLEAN,
    ended: bool = True,
    encoding: str = "",
) -> Heard:
    """A stream that was held for so long, and ended with its session."""
    reply = head(encoding=encoding) if head_seconds is not None else Reply()
    return Heard(reply, head_seconds, seconds, arrivals, end, seconds + 0.01, is_session_ended=ended)


def cut(seconds: float, *arrivals: Arrival, end: End = End.CUT) -> Heard:
    """A stream that ended by itself after so long."""
    return Heard(head(), 0.01, max(35.0, seconds), arrivals, end, seconds)


def refused(status: int, text: bytes = b"", *, seconds: float = 0.01, media_type: str = "text/plain") -> Heard:
    """A GET that was answered, after so long, with no stream."""
    return Heard(head(status, media_type, body=text), seconds, max(35.0, seconds), (), End.CLEAN, seconds)
