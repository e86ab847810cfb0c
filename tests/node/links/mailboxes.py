"""Mailboxes in memory, and what may go wrong with them; and two ends of a relay that meet there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from mooring.core.frames import FrameSeals, encode_open
from mooring.core.sealing import Seals
from mooring.errors import StoreUnavailable
from mooring.node.links.redis_exchange import Exchange
from mooring.node.links.redis_relay import Relay
from tests.cluster_in_process import SECRET

ASKS: Final = "node-1-aaaaa"
ANSWERS: Final = "node-2-aaaaa"


@dataclass
class PostOffice:
    """
    Attributes:
        boxes: what lies in each node's mailbox: (entry, frame).
        room: how many frames one holds.
        is_away: every question fails.
        takes_though_away: and is carried out all the same.
        loses: whether a frame goes missing on its way.
        posted: how many frames were taken.
        takes: set unless it takes its time.
    """

    boxes: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    room: int = 1000
    is_away: bool = False
    takes_though_away: bool = False
    loses: Callable[[bytes], bool] = lambda frame: False
    posted: int = 0
    takes: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.takes.set()

    def of(self, node_id: str) -> BoxInMemory:
        return BoxInMemory(self, node_id)


class BoxInMemory:
    """As `mooring.store.mailbox.Mailbox`."""

    def __init__(self, office: PostOffice, node_id: str) -> None:
        self._office = office
        self._node_id = node_id
        self._read = 0

    async def post(self, node_id: str, frames: Sequence[bytes]) -> list[bytes] | None:
        office = self._office
        await asyncio.sleep(0)
        await office.takes.wait()
        if office.is_away and not office.takes_though_away:
            raise StoreUnavailable("away")
        if node_id not in office.boxes:
            return None
        box = office.boxes[node_id]
        taken = list(frames)[: max(0, office.room - len(box))]
        entries = []
        for frame in taken:
            office.posted += 1
            entries.append(b"%d" % office.posted)
            if not office.loses(frame):
                box.append((entries[-1], frame))
        if office.is_away:
            raise StoreUnavailable("away, though it was taken")
        return entries

    async def take_back(self, node_id: str, entry: bytes) -> bool:
        if self._office.is_away:
            raise StoreUnavailable("away")
        box = self._office.boxes.get(node_id, [])
        kept = [one for one in box if one[0] != entry]
        was_there = len(kept) < len(box)
        box[:] = kept
        return was_there

    async def read(self) -> AsyncGenerator[list[bytes], None]:
        box = self._office.boxes.setdefault(self._node_id, [])
        yield []
        while True:
            if self._office.is_away:
                raise StoreUnavailable("away")
            found = list(box)
            yield [frame for _, frame in found]
            box[:] = [one for one in box if one not in found]
            await asyncio.sleep(0)

    async def keep_nothing(self) -> None:
        if self._office.is_away:
            raise StoreUnavailable("away")
        self._office.boxes[self._node_id].clear()

    async def aclose(self) -> None:
        self._office.boxes.pop(self._node_id, None)


@dataclass
class Ends:
    """
    Attributes:
        dead: the nodes whose lease is over.
        came: the exchanges that the one side has begun, as the other one has them.
    """

    office: PostOffice
    asking: Relay
    answering: Relay
    dead: set[str] = field(default_factory=set)
    came: list[Exchange] = field(default_factory=list)

    async def begun(self) -> tuple[Exchange, Exchange]:
        """A new exchange, from both sides; nothing was said but OPEN."""
        mine = self.asking.begin(ANSWERS)
        mine.say(encode_open("POST", b"/mcp", [(b"x", b"y")]))
        await self.turns()
        theirs = self.came[-1]
        await theirs.hear()
        return mine, theirs

    async def turns(self, count: int = 40) -> None:
        for _ in range(count):
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def two_ends(now: Callable[[], float] = lambda: 0.0) -> AsyncIterator[Ends]:
    office = PostOffice()
    dead: set[str] = set()

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.01))

    def relay(node_id: str) -> Relay:
        seals = FrameSeals(Seals([SECRET], "mcp"), node_id)
        return Relay(office.of(node_id), seals, lambda other: other in dead, now, sleep)

    ends = Ends(office, relay(ASKS), relay(ANSWERS), dead)

    async def answer(exchange: Exchange) -> None:
        ends.came.append(exchange)
        await exchange.breaks()

    await ends.asking.start(answer)
    await ends.answering.start(answer)
    try:
        yield ends
    finally:
        await ends.asking.stop()
        await ends.answering.stop()
