"""One side of one request and its answer that travel through Redis: what it says in order, and what it hears."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mooring.core.frames import (
    PIECE_BYTES,
    Credit,
    Frame,
    FrameSeals,
    Kind,
    Numbers,
    Order,
    Part,
    Role,
    decode_credit,
    encode_credit,
)
from mooring.core.sealing import NONCE_BYTES
from mooring.errors import SealBroken
from mooring.node.links.redis_outbox import Letter, Outbox

QUIET_SECONDS: Final = 5.0
"""How long nothing is said, at first, before it is asked after."""
_ENDS: Final = {
    Kind.LEAVE: "the other side left it",
    Kind.GONE: "the other side does not know it any more",
}


class BrokenOff(ConnectionError):
    """The exchange ended before it was whole."""


class Exchange:
    """
    Args:
        role: of this side.
        outbox: to the peer.
        on_over: called once, when nothing more is said or heard.

    Attributes:
        first: the first frame that was sent, once there is one.
        quiet_seconds: how long nothing is said before it is asked after.
        heard_at, said_at: when the other side was heard last, and we said anything, by the loop's clock.
    """

    def __init__(
        self,
        exchange_id: bytes,
        peer_id: str,
        role: Role,
        seals: FrameSeals,
        outbox: Outbox,
        on_over: Callable[[Exchange], None],
        now: Callable[[], float],
    ) -> None:
        self.id = exchange_id
        self.peer_id = peer_id
        self.role = role
        self.first: Letter | None = None
        self.heard_at = self.said_at = now()
        self.quiet_seconds = QUIET_SECONDS
        self._now = now
        self._seals = seals
        self._outbox = outbox
        self._on_over = on_over
        self._numbers = Numbers()
        self._has_heard = False
        self._credit = Credit()
        self._has_credit = asyncio.Event()
        self._has_credit.set()
        self._sent = 0
        self._last: Letter | None = None
        # Said in this turn of the loop: it goes out as few frames.
        self._pending: list[Part] = []
        self._flushing: asyncio.Handle | None = None
        # Heard, and not read.
        self._heard: deque[Part] = deque()
        self._stirred = asyncio.Event()
        self._broken = ""
        self._is_over = False

    @property
    def is_over(self) -> bool:
        return self._is_over

    @property
    def is_broken(self) -> bool:
        return bool(self._broken)

    @property
    def has_unsent(self) -> bool:
        """Whether something that it said is not in the peer's mailbox yet."""
        return bool(self._pending) or (self._last is not None and self._last.waits)

    def say(self, part: Part) -> None:
        """Send a part that is no piece of a body."""
        if not self._is_over:
            self._pending.append(part)
            if self._flushing is None:
                self._flushing = asyncio.get_running_loop().call_soon(self._flush)

    async def say_body(self, data: bytes) -> None:
        """Send a piece of a body as soon as the other side has room for it.

        Raises:
            BrokenOff: it hears nothing more.
        """
        view = memoryview(data)
        while len(view):
            if self._broken or self._is_over:
                raise BrokenOff(self._broken)
            if self._credit.left <= 0:
                self._has_credit.clear()
                await self._has_credit.wait()
                continue
            await self._outbox.room()
            piece = view[: min(PIECE_BYTES, self._credit.left)]
            self._credit.spend(len(piece))
            self.say(Part(Kind.BODY, bytes(piece)))
            view = view[len(piece) :]

    async def hear(self) -> Part:
        """The next part of the request or answer; the sender has room for more once a piece of a body was heard.

        Raises:
            BrokenOff: there is none.
        """
        while not self._heard:
            if self._broken or self._is_over:
                raise BrokenOff(self._broken or "it is over")
            self._stirred.clear()
            await self._stirred.wait()
        part = self._heard.popleft()
        if part.kind is Kind.BODY and (given := self._credit.reads(len(part.data))):
            self.say(encode_credit(given))
        return part

    async def breaks(self) -> None:
        """Wait until nothing more is heard."""
        while not self._broken and not self._is_over:
            self._stirred.clear()
            await self._stirred.wait()

    def take(self, frame: Frame) -> None:
        """What the other side says. It came in the store's order, which anyone may have changed who writes there."""
        if frame.parts and frame.parts[0].kind is Kind.GONE:
            self.break_off(_ENDS[Kind.GONE])
            return
        order = self._numbers.take(frame.number)
        if order is Order.LOST:
            self.break_off("Redis lost a part of it")
            self.close(Part(Kind.LEAVE))
        if order is not Order.DUE:
            return
        self.heard_at = self._now()
        self._has_heard = True
        for part in frame.parts:
            self._take_part(part)
            if part.kind is not Kind.SYNC:
                self.quiet_seconds = QUIET_SECONDS
        self._stirred.set()

    def _take_part(self, part: Part) -> None:
        match part.kind:
            case Kind.CREDIT:
                try:
                    self._credit.earn(decode_credit(part))
                except SealBroken as error:
                    self.break_off(str(error))
                self._has_credit.set()
            case Kind.SYNC:
                if self.role is Role.ANSWERS and not self.has_unsent:
                    self.say(Part(Kind.SYNC))
            case Kind.LEAVE:
                self.break_off(_ENDS[part.kind])
            case Kind.BODY if not self._credit.comes(len(part.data)):
                self.break_off("the other side sends more than it may")
                self.close(Part(Kind.LEAVE))
            case _:
                self._heard.append(part)

    def break_off(self, why: str) -> None:
        """Nothing more is heard. What came before is, still."""
        self._broken = self._broken or why
        self._stirred.set()
        self._has_credit.set()

    def close(self, last: Part | None = None) -> None:
        """Nothing more is said, but for this."""
        if self._is_over:
            return
        if last is not None:
            self._pending.append(last)
        self._flush()
        self._is_over = True
        self._stirred.set()
        self._has_credit.set()
        self._on_over(self)

    def withdraw(self) -> bool:
        """Leave it before it has begun; returns whether the other side may have heard of it."""
        first = self.first
        if first is None or not first.may_be_there:
            if first is not None:
                first.is_withdrawn = True
            self._pending.clear()
            self.close()
            return False
        self.close(Part(Kind.LEAVE))
        return True

    async def was_never_read(self) -> bool:
        """Whether it is certain that the other side, which is dead, has heard nothing of it."""
        return not self._has_heard and (self.first is None or await self._outbox.take_back(self.first))

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        parts, self._pending = self._pending, []
        frame: list[Part] = []
        size = 0
        for part in parts:
            if frame and size + len(part.data) > PIECE_BYTES:
                self._put(frame)
                frame, size = [], 0
            frame.append(part)
            size += len(part.data)
        if frame:
            self._put(frame)

    def _put(self, parts: list[Part]) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._seals.seal(self.role, self.id, self._sent, self.peer_id, parts, nonce)
        self._sent += 1
        self.said_at = self._now()
        self._last = self._outbox.put(sealed)
        self.first = self.first or self._last


Answer = Callable[[Exchange], Coroutine[Any, Any, None]]
"""What becomes of an exchange that a peer has begun."""
