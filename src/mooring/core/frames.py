"""What two nodes write to each other where they meet in the store alone: frames of an exchange, sealed, in order.

An exchange is one request and its answer. Each side numbers its frames from 0, and a frame is:

    1 byte    version: 1
    1 byte    who says it: Q the one who asks, A the one who answers
    16 bytes  the exchange, random, never used a second time
    8 bytes   the number of the frame
    1 byte    how long the name of the sender is, and the name
    …         parts, sealed (`mooring.core.sealing`): each a kind (1 byte), a length (4 bytes), and what it says

The key is of this exchange, this sender and this receiver; who says it and the number are authenticated with it. So
a frame opens for nobody else, in no other exchange and at no other place:

    a frame that                                 is
    -------------------------------------------  ---------------------------------------------------------
    does not open                                somebody else's: it changes nothing
    has the number that is due                   taken
    has a lower number                           dropped: it was written twice, or somebody repeats it
    has a higher number                          the sign that one was lost: the exchange breaks off
    is of an exchange that is not known          answered by `GONE`, if it begins none

    part    says                                                                         and is said by
    ------  ---------------------------------------------------------------------------  --------------
    OPEN    method, target and headers of the request                                    Q, once, first
    START   status and headers of the answer                                             A, once, first
    BODY    a piece of the body                                                          both
    END     the body is whole                                                            both
    CREDIT  how many bytes of bodies were read, and may follow                           both
    SYNC    nothing: what was lost before it shows, and A says it back                   both
    LEAVE   no more is said or heard: the client left, or the answer broke off           both
    REFUSE  the request was not taken, and nothing carried out                           A, in place of START
    GONE    this exchange is not known here; in a frame of its own, with no number       both
"""

from __future__ import annotations

import enum
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from mooring.core.sealing import Seals
from mooring.errors import SealBroken

EXCHANGE_BYTES: Final = 16
WINDOW_BYTES: Final = 256 * 1024
"""How much of a body may be under way to one reader before it has read any of it."""
PIECE_BYTES: Final = 64 * 1024
"""The most of a body that one frame carries."""
UNNUMBERED: Final = 2**64 - 1

_VERSION: Final = 1
_HEAD: Final = struct.Struct(f">Bc{EXCHANGE_BYTES}sQB")
_PART: Final = struct.Struct(">BI")
_COUNT: Final = struct.Struct(">I")

Headers = list[tuple[bytes, bytes]]


class Role(enum.Enum):
    ASKS = b"Q"
    ANSWERS = b"A"

    @property
    def other(self) -> Role:
        return Role.ANSWERS if self is Role.ASKS else Role.ASKS


class Kind(enum.IntEnum):
    """See the table above."""

    OPEN = 1
    START = 2
    BODY = 3
    END = 4
    CREDIT = 5
    SYNC = 6
    LEAVE = 7
    REFUSE = 8
    GONE = 9


@dataclass(frozen=True, slots=True)
class Part:
    kind: Kind
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Frame:
    """
    Attributes:
        role: of whoever says it.
        number: `UNNUMBERED` for one that stands outside the order.
    """

    role: Role
    exchange: bytes
    number: int
    sender: str
    parts: tuple[Part, ...]


class FrameSeals:
    """Seals a node's frames, and opens those that were sealed for it.

    Args:
        seals: with the cluster's secrets.
    """

    def __init__(self, seals: Seals, node_id: str) -> None:
        self._seals = seals
        self._node_id = node_id

    def seal(
        self, role: Role, exchange: bytes, number: int, receiver: str, parts: Iterable[Part], nonce: bytes
    ) -> bytes:
        """
        Args:
            nonce: random bytes, as in `Seals.seal`.
        """
        text = b"".join(_PART.pack(part.kind, len(part.data)) + part.data for part in parts)
        sender = self._node_id.encode()
        head = _HEAD.pack(_VERSION, role.value, exchange, number, len(sender)) + sender
        return head + self._seals.seal(text, _whose(self._node_id, receiver, exchange), f"{role.name} {number}", nonce)

    def open(self, data: bytes) -> Frame:
        """
        Raises:
            SealBroken: no node of this cluster has sealed this for us.
        """
        try:
            version, role_byte, exchange, number, length = _HEAD.unpack_from(data)
            role = Role(role_byte)
            sender = data[_HEAD.size : _HEAD.size + length].decode("ascii")
        except (struct.error, ValueError):
            raise SealBroken("not a frame") from None
        if version != _VERSION or len(sender) != length:
            raise SealBroken("not a frame of this version")
        sealed = data[_HEAD.size + length :]
        text = self._seals.open(sealed, _whose(sender, self._node_id, exchange), f"{role.name} {number}")
        return Frame(role, exchange, number, sender, _parts_of(text))


def begins(data: bytes) -> bool:
    """Whether these bytes look like a frame that begins an exchange; anyone may have written them."""
    return data[1:2] == Role.ASKS.value and data[2 + EXCHANGE_BYTES : _HEAD.size - 1] == bytes(8)


def _whose(sender: str, receiver: str, exchange: bytes) -> str:
    """What the key is derived from; no session id has blanks."""
    return f"relay {sender} {receiver} {exchange.hex()}"


def _parts_of(text: bytes) -> tuple[Part, ...]:
    parts = []
    place = 0
    try:
        while place < len(text):
            kind, length = _PART.unpack_from(text, place)
            place += _PART.size + length
            parts.append(Part(Kind(kind), text[place - length : place]))
    except (struct.error, ValueError):
        raise SealBroken("a frame that cannot be read, such as one of a later version") from None
    if place != len(text):
        raise SealBroken("a frame that ends too soon")
    return tuple(parts)


def encode_open(method: str, target: bytes, headers: Headers) -> Part:
    return Part(Kind.OPEN, _written([method, _text(target), [[_text(name), _text(value)] for name, value in headers]]))


def decode_open(part: Part) -> tuple[str, bytes, Headers]:
    """Method, target and headers.

    Raises:
        SealBroken: it is of a form that this version does not know.
    """
    try:
        method, target, headers = json.loads(part.data)
        return str(method), _bytes(target), [(_bytes(name), _bytes(value)) for name, value in headers]
    except (ValueError, TypeError, AttributeError):
        raise SealBroken("a request that cannot be read") from None


def encode_start(status: int, headers: Headers) -> Part:
    return Part(Kind.START, _written([status, [[_text(name), _text(value)] for name, value in headers]]))


def decode_start(part: Part) -> tuple[int, Headers]:
    """
    Raises:
        SealBroken: as in `decode_open`.
    """
    try:
        status, headers = json.loads(part.data)
        return int(status), [(_bytes(name), _bytes(value)) for name, value in headers]
    except (ValueError, TypeError, AttributeError):
        raise SealBroken("an answer that cannot be read") from None


def encode_credit(count: int) -> Part:
    return Part(Kind.CREDIT, _COUNT.pack(count))


def decode_credit(part: Part) -> int:
    """
    Raises:
        SealBroken: as in `decode_open`.
    """
    if len(part.data) != _COUNT.size:
        raise SealBroken("a credit that cannot be read")
    count: int = _COUNT.unpack(part.data)[0]
    return count


def _written(said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


class Order(enum.Enum):
    DUE = "due"
    SEEN = "seen"
    LOST = "lost"


class Numbers:
    """The numbers of the frames that come; it goes on with `DUE` alone."""

    def __init__(self) -> None:
        self._next = 0

    def take(self, number: int) -> Order:
        if number < self._next:
            return Order.SEEN
        if number > self._next:
            return Order.LOST
        self._next += 1
        return Order.DUE


class Credit:
    """How many bytes of a body may be under way: what the sender may send, and what the reader has to give back.

    Attributes:
        left: how much may be sent.
    """

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        self.left = window_bytes
        self._window_bytes = window_bytes
        # Read by us, and not given back yet; and come, and not read.
        self._read = 0
        self._held = 0

    def spend(self, count: int) -> None:
        self.left -= count

    def earn(self, count: int) -> None:
        """The other side has read this much of what we sent."""
        self.left = min(self.left + count, self._window_bytes)

    def comes(self, count: int) -> bool:
        """Whether this much could come: the other side had credit for it."""
        self._held += count
        return self._held + self._read <= self._window_bytes

    def reads(self, count: int) -> int:
        """We have read this much; returns how much to give back now: not for every little piece."""
        self._held -= count
        self._read += count
        if 2 * self._read < self._window_bytes:
            return 0
        given, self._read = self._read, 0
        return given
