"""The ids of streams and of their events, which say what a node has to know that never heard of them.

An event's id is `<stream>.<epoch>.<number>`. The epoch is the one at which its writer held the session's shard: so
whatever a later owner adds sorts after, and nobody has to know what an earlier one wrote last.

A stream's id is made when its request arrives, and describes it: which request, in which incarnation of the session,
and what it may mean to carry it out again. It is signed, together with the session's id: an id of another session's
stream, or one that nobody minted, says nothing and gives nothing away (specification 2025-11-25, Transports:
Resumability).

    kind    1 byte       see `StreamKind`
    life    4 bytes      the session's incarnation
    random  6 bytes      zeros for the one stream of a session that a GET opens: it is the same on every node
    request              the JSON-RPC id as JSON, a list of them for a batch; left out where it is longer than
                         `REQUEST_ID_BYTES`
    mac     10 bytes     HMAC-SHA256 over all that and the session's id
"""

from __future__ import annotations

import base64
import binascii
import enum
import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from mooring.core.jsonrpc import Asked

REQUEST_ID_BYTES: Final = 120
RANDOM_BYTES: Final = 6
_MAC_BYTES: Final = 10
_SECRETS_KNOWN: Final = 4_096
"""Of so many sessions it is not found out again which secret their ids were minted with."""
_HEAD_BYTES: Final = 1 + 4 + RANDOM_BYTES
_EVENT_ID: Final = re.compile(r"([A-Za-z0-9_-]{20,200})\.([0-9]{1,16})\.([0-9]{1,16})", re.ASCII)

_SAFE_METHODS: Final = frozenset(
    {
        "completion/complete",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "tools/list",
    }
)


class StreamKind(enum.Enum):
    """What a stream answers."""

    SAFE = b"s"
    """A request that changes nothing: it may be carried out again."""
    CALL = b"c"
    """Any other request."""
    STANDING = b"g"
    """None: what the server says by itself."""


def kind_of(method: str) -> StreamKind:
    """Of the stream that answers a request with this method."""
    return StreamKind.SAFE if method in _SAFE_METHODS else StreamKind.CALL


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What a stream's id says.

    Attributes:
        request_id: of a batch those of all its requests; None where it is too long, or there is no request.
    """

    kind: StreamKind
    incarnation: int
    request_id: Asked = None


class Place(NamedTuple):
    """Where an event stands in its stream."""

    epoch: int
    number: int


BEGINNING: Final = Place(0, 0)


class StreamIds:
    """Mints and reads them.

    Args:
        keys: of the cluster, one for each of its secrets.
        which: the number of the secret that a session's id was minted with. Its streams' ids are made with the same
            one's key on every node, whatever the first secret is there.
    """

    def __init__(self, *keys: bytes, which: Callable[[str], int | None] | None = None) -> None:
        self._keys = keys
        self._which = lru_cache(_SECRETS_KNOWN)(which or (lambda _: 0))

    def mint(self, session_id: str, facts: StreamFacts, random: bytes) -> str:
        """The id of a stream that answers a request."""
        asked = facts.request_id
        request = b"" if asked is None else b"%d" % asked if type(asked) is int else json.dumps(asked).encode()
        if len(request) > REQUEST_ID_BYTES:
            request = b""
        said = facts.kind.value + facts.incarnation.to_bytes(4) + random[:RANDOM_BYTES] + request
        return _text(said + self._mac(said, session_id))

    def standing(self, session_id: str) -> str:
        """The id of the session's stream for what its server says by itself."""
        return self.mint(session_id, StreamFacts(StreamKind.STANDING, 0), bytes(RANDOM_BYTES))

    def read(self, session_id: str, stream_id: str) -> StreamFacts | None:
        """What the id says, if a node of this cluster minted it for a stream of this session."""
        try:
            raw = base64.urlsafe_b64decode(stream_id + "=" * (-len(stream_id) % 4))
        except (ValueError, binascii.Error):
            return None
        said, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if _text(raw) != stream_id:  # several texts read as the same bytes, and one of them names the stream
            return None
        if len(said) < _HEAD_BYTES or not hmac.compare_digest(mac, self._mac(said, session_id)):
            return None
        return StreamFacts(StreamKind(said[:1]), int.from_bytes(said[1:5]), asked_of(said[_HEAD_BYTES:]))

    def _mac(self, said: bytes, session_id: str) -> bytes:
        key = self._keys[self._which(session_id) or 0]
        return hmac.digest(key, said + b"\0" + session_id.encode(), "sha256")[:_MAC_BYTES]


def asked_of(text: bytes | str) -> Asked:
    """What JSON of our own says of the request: its id, or those of a batch."""
    said = json.loads(text) if text else None
    return tuple(said) if isinstance(said, list) else said


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def event_id(stream_id: str, place: Place) -> str:
    return f"{stream_id}.{place.epoch}.{place.number}"


def read_event_id(text: str) -> tuple[str, Place] | None:
    """The stream's id, unchecked, and the place in it; None where this is no id of ours."""
    parts = _EVENT_ID.fullmatch(text)
    return None if parts is None else (parts[1], Place(int(parts[2]), int(parts[3])))
