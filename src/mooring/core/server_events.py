"""What nodes tell each other of an MCP server's changes, on a channel that anyone in Redis may write to.

In the modern era a client hears of changes on a stream of its own (specification 2026-07-28, subscriptions/listen),
which is open at one node; the change happens at any. A message is a MAC (HMAC-SHA256, 32 bytes) and the JSON that it
covers:

    {"sender": node id, "nonce": …, "time_ms": …, "server": its name, "kind": the notification's method, "uri": …}

Every change only says that something is to be read again. So one that is told twice does no harm, and one that may have
been missed is made up for by `LISTS`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from mooring.errors import SignatureError

LISTS: Final = (
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
)
UPDATED: Final = "notifications/resources/updated"

MESSAGE_BYTES: Final = 16 * 1024
"""As long as a message may be, with the URI and the server's name in it."""

_MAC_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """
    Attributes:
        server: the name of the server that changed: a node may have several.
        kind: one of `LISTS`, or `UPDATED`.
        uri: of the resource, with `UPDATED`; else "".
    """

    server: str
    kind: str
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Announcement:
    """
    Attributes:
        nonce: of this event, and of it alone, however often it is sent.
        time_ms: when it was sent, milliseconds since the epoch by the clock of all nodes, which is the store's.
    """

    sender: str
    nonce: str
    time_ms: int
    event: ServerEvent


def seal(key: bytes, announcement: Announcement) -> bytes:
    """
    Raises:
        ValueError: it would be longer than `MESSAGE_BYTES`.
    """
    said = {**asdict(announcement), **asdict(announcement.event)}
    del said["event"]
    text = json.dumps(said).encode()
    if _MAC_BYTES + len(text) > MESSAGE_BYTES:
        raise ValueError(f"a change is told in {MESSAGE_BYTES} bytes at most")
    return _mac(key, text) + text


def unseal(key: bytes, message: bytes) -> Announcement:
    """What a message says, if a node of this cluster wrote it; perhaps long ago, and not for the first time.

    Raises:
        SignatureError: nobody of this cluster wrote it, or this version does not know what it says.
    """
    if len(message) > MESSAGE_BYTES:
        raise SignatureError(f"longer than {MESSAGE_BYTES} bytes")
    mac, text = message[:_MAC_BYTES], message[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, text)):
        raise SignatureError("not signed with this cluster's secret")
    return _read(text)


def _read(text: bytes) -> Announcement:
    """A newer version may say more, and tell of kinds that are unknown here."""
    try:
        said: Any = json.loads(text)
        event = ServerEvent(said["server"], said["kind"], said["uri"])
        announcement = Announcement(said["sender"], said["nonce"], said["time_ms"], event)
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureError("not in a form that this version knows") from error
    texts = (event.server, event.kind, event.uri, announcement.sender, announcement.nonce)
    if not all(isinstance(text, str) for text in texts) or type(announcement.time_ms) is not int:
        raise SignatureError("not in a form that this version knows")
    if event.kind not in (*LISTS, UPDATED) or (event.kind == UPDATED) != (event.uri != ""):
        raise SignatureError("of a kind that this version does not know")
    return announcement


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, hashlib.sha256)
