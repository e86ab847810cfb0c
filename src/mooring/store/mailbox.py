"""A mailbox for each node in Redis: what its peers write to it where they cannot reach it, read by it alone.

It is a stream, which is there for as long as its node reads it: the node makes it, renews its time to live with each
read, and cuts off what it has read. So whoever writes learns whether anybody reads, and what waits there is bounded.
Once a node is dead, what is still there was never read: whoever wrote it takes it back, and knows that nothing was
carried out.

It has two connections of its own, so that neither leases nor records wait for it, nor it for them: one to write to
others' mailboxes, one that waits at one's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, Protocol

from redis.exceptions import ResponseError

from mooring.core.masking import masked
from mooring.errors import StoreUnavailable
from mooring.store.clients import client_of
from mooring.store.keys import Keys
from mooring.store.lane import Command, Lane, script
from mooring.store.primary import PrimaryWatch
from mooring.store.trouble import RAISED, explain

MOST_FRAMES: Final = 1024
"""How many frames may wait in one mailbox; none is larger than 65 KiB, but for the headers in the first one."""
KEPT_SECONDS: Final = 30.0
"""How long a mailbox is kept whose node does not read it, beyond that node's lease."""
_LEFT_SECONDS: Final = 5.0
"""How long it is kept whose node has left: for what came last to be taken back."""
_READ_AT_ONCE: Final = 256
_WAIT_SECONDS: Final = 1.0
"""How long Redis lets us wait for a frame before it says that there is none."""


class Mailbox(Protocol):
    async def post(self, node_id: str, frames: Sequence[bytes]) -> list[bytes] | None:
        """Put these into a node's mailbox, in this order.

        Returns:
            the entries that they have become: of as many as there was room for; None where the node has no mailbox.

        Raises:
            StoreUnavailable: all of them may be there, or none.
        """
        ...

    async def take_back(self, node_id: str, entry: bytes) -> bool:
        """Whether this entry was still in a node's mailbox; it is no longer there.

        Raises:
            StoreUnavailable: nobody knows.
        """
        ...

    def read(self) -> AsyncGenerator[list[bytes], None]:
        """What comes into one's own, in order, from now on; an empty list where nothing has come for a while.

        The first one is empty: from then on the mailbox is there. What has come stays there until the next ones are
        asked for, unless `keep_nothing` removes it.

        Raises:
            StoreUnavailable: from now on nothing is read. Whoever begins again misses nothing that Redis still has.
        """
        ...

    async def keep_nothing(self) -> None:
        """Remove what has come so far, so that nobody can take it back.

        Raises:
            StoreUnavailable: somebody may.
        """
        ...

    async def aclose(self) -> None:
        """The mailbox goes soon, too."""
        ...


class RedisMailbox:
    """
    Args:
        url: see `mooring.store.clients`.
        prefix: of every key.
        timeout_seconds: how long Redis may take for one answer.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        timeout_seconds: float,
        node_id: str,
        *,
        most_frames: int = MOST_FRAMES,
        kept_seconds: float = KEPT_SECONDS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._keys = Keys(prefix)
        self._own = self._keys.mailbox(node_id)
        self._timeout_seconds = timeout_seconds
        self._most_frames = most_frames
        self._kept_ms = round(kept_seconds * 1000)
        self._now = now
        self._writing = client_of(url, timeout_seconds)
        self._lane = Lane(self._writing, self._explain)
        # The last entry that was read; in a mailbox made anew the numbers may begin lower.
        self._last: bytes | str = "0-0"

    async def post(self, node_id: str, frames: Sequence[bytes]) -> list[bytes] | None:
        command = script("post").on([self._keys.mailbox(node_id)], [self._most_frames, *frames])
        entries: list[bytes] | None = await self._lane.ask("writing to a peer", command)
        return entries

    async def take_back(self, node_id: str, entry: bytes) -> bool:
        command = Command(("XDEL", self._keys.mailbox(node_id), entry))
        return bool(await self._lane.ask("taking back what a peer has not read", command))

    async def keep_nothing(self) -> None:
        command = Command(("XTRIM", self._own, "MINID", _after(self._last)))
        await self._lane.ask("reading what peers wrote", command)

    async def read(self) -> AsyncGenerator[list[bytes], None]:
        client = client_of(self._url, self._timeout_seconds, waits_seconds=_WAIT_SECONDS)
        has_moved = asyncio.Event()
        watch = PrimaryWatch([client, self._writing], lambda: self._move(has_moved))
        try:
            await self._begin(client)
            yield []
            while not has_moved.is_set():
                watch.glance()
                frames = await self._read_some(client)
                if frames is None:
                    await self._make(client)
                else:
                    yield frames
        except RAISED as error:
            raise self._explain(error, "reading what peers wrote") from None
        finally:
            await watch.aclose()
            await client.aclose()

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._writing.pexpire(self._own, round(_LEFT_SECONDS * 1000))
        except (*RAISED, TimeoutError):
            pass  # it goes by itself
        await self._lane.aclose()

    async def _begin(self, client: Any) -> None:
        """Make the mailbox where it is missing; and see whether it is one that was set back."""
        try:
            known = await client.xinfo_stream(self._own)
        except ResponseError as error:
            if "no such key" not in str(error):
                raise
            await self._make(client)
            return
        last: bytes = known["last-generated-id"]
        if _order(last) < _order(self._last):
            self._last = last

    async def _make(self, client: Any) -> None:
        """An empty one; what there was is lost."""
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command("XADD", self._own, "MAXLEN", 0, "*", "f", "")
        pipeline.execute_command("PEXPIRE", self._own, self._kept_ms)
        self._last, _ = await pipeline.execute()

    async def _read_some(self, client: Any) -> list[bytes] | None:
        """What has come by the time that something has, or nothing did for a while; None where there is no mailbox."""
        pipeline = client.pipeline(transaction=False)
        pipeline.execute_command("XTRIM", self._own, "MINID", _after(self._last))
        pipeline.execute_command(
            "XREAD", "COUNT", _READ_AT_ONCE, "BLOCK", round(_WAIT_SECONDS * 1000), "STREAMS", self._own, self._last
        )
        pipeline.execute_command("PEXPIRE", self._own, self._kept_ms)
        _, answer, is_there = await pipeline.execute()
        entries = _entries(answer)
        if entries:
            self._last = entries[-1][0]
        elif not is_there:
            return None
        return [fields.get(b"f", b"") for _, fields in entries]

    def _move(self, has_moved: asyncio.Event) -> None:
        """Another server is the primary: what is written there is not read here."""
        has_moved.set()
        self._lane.connect_anew()

    def _explain(self, error: Exception, doing: str) -> StoreUnavailable:
        return explain(error, masked(self._url), doing)


def _entries(answer: Any) -> Any:
    """The entries of the one stream that was read: a list in RESP2, a map in RESP3."""
    if isinstance(answer, dict):
        return [entry for batches in answer.values() for batch in batches for entry in batch]
    return answer[0][1] if answer else []


def _after(entry: bytes | str) -> str:
    milliseconds, number = _order(entry)
    return f"{milliseconds}-{number + 1}"


def _order(entry: bytes | str) -> tuple[int, int]:
    text = entry.decode() if isinstance(entry, bytes) else entry
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)
