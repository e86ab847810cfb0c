"""What a request says of itself, read from its method and headers alone.

In the legacy era `Mcp-Session-Id` says it all, and a request without one opens a session or is wrong. In the modern era
(from revision 2026-07-28) nothing is bound to a session, but a request may name a handle: where those are found is said
in `mooring.core.handle_search`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

MODERN_SINCE: Final = b"2026-07-28"

SESSION_HEADER: Final = b"mcp-session-id"
VERSION_HEADER: Final = b"mcp-protocol-version"
LAST_EVENT_ID: Final = b"last-event-id"
PEER_HEADER: Final = b"mooring-peer"
REPLY_HEADER: Final = b"mooring-reply"
CLIENT_HEADER: Final = b"mooring-client"
BEGIN_HEADER: Final = b"mooring-begin"
END_HEADER: Final = b"mooring-end"
INTERNAL_HEADERS: Final = frozenset({PEER_HEADER, REPLY_HEADER, CLIENT_HEADER, BEGIN_HEADER, END_HEADER})

_READ: Final = frozenset({SESSION_HEADER, VERSION_HEADER}) | INTERNAL_HEADERS
_REVISION = re.compile(rb"\d{4}-\d{2}-\d{2}")

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """
    Attributes:
        session_id: the text in `Mcp-Session-Id`, unchecked, without the blanks that some servers leave around it
            (RFC 9110, section 5.5); None where there is none.
        in_query: that is the id of an HTTP+SSE session, which was found, and verified, in the query of what is posted
            (`mooring.core.http_sse`).
        doubled: `Mcp-Session-Id` appears more than once, so that nobody can say which one is meant.
        modern: the request is of revision 2026-07-28 or later, where there are no sessions. Where the version is
            given more than once, all have to be: an app may go by the first or by the last one, and a request that
            it may take for a session's is checked as one.
        peer: what another node says to prove that it passes this request on; unchecked.
        handle: the text by which a modern request is routed, unchecked; None where it names none.
        placed_on: the shard that a modern request belongs to by its placement key; None where it has none.
        is_untidy: there are blanks around the session id, or headers that only nodes send to each other.
    """

    method: str
    session_id: str | None = None
    doubled: bool = False
    modern: bool = False
    peer: str | None = None
    forwarded: bool = False
    is_untidy: bool = False
    in_query: bool = False
    handle: str | None = None
    placed_on: str | None = None

    def naming(self, handle: str) -> RequestFacts:
        """The same with this handle, by which it is routed. `dataclasses.replace` would take several times as long."""
        return RequestFacts(
            self.method,
            self.session_id,
            self.doubled,
            self.modern,
            self.peer,
            self.forwarded,
            self.is_untidy,
            self.in_query,
            handle,
            self.placed_on,
        )

    @property
    def is_free(self) -> bool:
        """Whether any node may serve it: it is of the modern era, and not bound."""
        return self.modern and not self.doubled and not self.is_bound

    @property
    def is_bound(self) -> bool:
        """Whether it belongs to a node: it is of a session, names a handle, or was placed."""
        if self.modern:
            return self.handle is not None or self.placed_on is not None
        return self.session_id is not None


def read_facts(method: str, headers: Headers) -> RequestFacts:
    """The facts of a request. Header names are lower-case, as ASGI gives them."""
    session_id: bytes | None = None
    modern: bool | None = None
    peer: str | None = None
    doubled = is_untidy = False
    for name, value in headers:
        if name[:1] != b"m" or name not in _READ:  # nearly all are told apart by a letter
            continue
        if name == SESSION_HEADER:
            doubled = session_id is not None
            session_id = value.strip(b" \t")
            is_untidy = is_untidy or session_id != value
        elif name == VERSION_HEADER:
            modern = modern is not False and is_modern(value)
        else:
            is_untidy = True
            if name == PEER_HEADER:
                peer = value.decode("latin-1")
    if session_id is None and not is_untidy:
        return _on_no_session(method, modern or False)
    return RequestFacts(
        method=method,
        session_id=None if session_id is None else session_id.decode("latin-1"),
        doubled=doubled,
        modern=modern or False,
        peer=peer,
        is_untidy=is_untidy,
    )


@lru_cache(maxsize=16)
def _on_no_session(method: str, modern: bool) -> RequestFacts:
    return RequestFacts(method, modern=modern)


def tidied(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers as the app is to see them: without those that only nodes send to each other."""
    return [
        (name, value.strip(b" \t") if name == SESSION_HEADER else value)
        for name, value in headers
        if name not in INTERNAL_HEADERS
    ]


def is_modern(version: bytes) -> bool:
    """Whether a `MCP-Protocol-Version` names a revision without sessions.

    Revisions are dates, so they compare as text. Anything that is not a date is left to the app to refuse, and not
    remembered: a client may write megabytes there.
    """
    return len(version) == len(MODERN_SINCE) and _is_modern(version)


@lru_cache(maxsize=64)
def _is_modern(version: bytes) -> bool:
    if version < MODERN_SINCE or _REVISION.fullmatch(version) is None:
        return False
    try:
        date.fromisoformat(version.decode())
    except ValueError:
        return False
    return True
