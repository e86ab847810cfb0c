"""The older HTTP+SSE transport (specification 2024-11-05, Basic / Transports), as far as its session id goes.

A GET opens a stream, whose first event is named `endpoint` and says where the client posts its messages:

    event: endpoint
    data: /messages/?session_id=0123456789abcdef0123456789abcdef

The specification leaves open what is at that address. The SDKs have a session id in its query, as `session_id`,
`sessionId` or `sessionid`, and no client looks into it. So it is the place for an id of ours: where the app has its
own id, the client gets ours, and the app gets its own one back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mooring.core.sse import SseBareBlock, SseEvent, SseParser

EVENT: Final = "endpoint"

HELD_AT_MOST: Final = 8 * 1024
"""Bytes of a first event: one that is longer names no address."""

_ID: Final = re.compile(rb"(?:^|(?<=&))session_?id=([^&]*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PostAddress:
    """Where a client posts.

    Attributes:
        path: as the client has it, without the query.
        session_id: as it stands in the query, quoted if the app has quoted it.
    """

    path: str
    session_id: str


def read_address(data: str) -> PostAddress | None:
    """The address in an `endpoint` event; None where there is no session id in its query, or more than one."""
    address, _, query = data.partition("#")[0].partition("?")
    session_id = id_in(query.encode())
    if session_id is None:
        return None
    _, scheme, rest = address.partition("://")
    path = "/" + rest.partition("/")[2] if scheme else address
    return PostAddress(path, session_id)


def id_in(query: bytes) -> str | None:
    """The session id in a query, unchecked; None where there is none, or more than one: nobody knows which is meant."""
    found = _ID.findall(query)
    return found[0].decode("latin-1") if len(found) == 1 and found[0] else None


def with_id(query: bytes, session_id: str) -> bytes:
    """The query with this session id in the place of the one that it has."""
    return _ID.sub(lambda match: match[0][: match.start(1) - match.start()] + session_id.encode("latin-1"), query)


def without_id(query: bytes) -> bytes:
    """The query without a session id."""
    return b"&".join(part for part in query.split(b"&") if not _ID.fullmatch(part))


class FirstEvent:
    """Finds the first event of a stream that passes by, and holds no more than that.

    Comments and empty lines before it are let go. So is all of it once it is longer than any address.

    Attributes:
        event: it, once it is whole; None before that, and where the first block is no event.
        is_over: there is nothing more to look for.
    """

    def __init__(self) -> None:
        self._parser = SseParser()
        self._held = b""
        self.event: SseEvent | None = None
        self.is_over = False

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece; returns what may leave. With the end of the event that is all of it, as it came."""
        self._held += piece
        blocks = [part for part in self._parser.read(piece) if isinstance(part, SseEvent | SseBareBlock)]
        # A block of `retry` alone comes before the event, and is none.
        self.event = next((part for part in blocks if isinstance(part, SseEvent)), None)
        self.is_over = self.event is not None or len(self._held) > HELD_AT_MOST
        return self.let_go() if self.is_over or not self._parser.pending_bytes else b""

    def let_go(self) -> bytes:
        """What is held."""
        held, self._held = self._held, b""
        return held


def readdressed(held: bytes, data: str, session_id: str) -> bytes | None:
    """The bytes of an `endpoint` event with that data, with this session id in its address; all else as it was.

    None where the bytes do not have the data as it is: it came in several lines.
    """
    before = data.encode()
    place = held.find(before)
    if place < 0:
        return None
    address, mark, query = data.partition("?")
    query, hash_mark, fragment = query.partition("#")
    after = b"".join(
        (f"{address}{mark}".encode(), with_id(query.encode(), session_id), f"{hash_mark}{fragment}".encode())
    )
    return held[:place] + after + held[place + len(before) :]
