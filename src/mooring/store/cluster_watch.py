"""Whether the primaries of a Redis Cluster still have all that they were told, asked while nobody writes to them.

A primary that dies is replaced by a replica that may lack its last writes, and one that is started again may lack them
all. Whoever writes to it meets an error, and knows. But sessions lie on all primaries, and leases on one: a node that
has nothing to say of its sessions hears of nothing. So all of them are asked in the background.

    what they say                                    so
    -----------------------------------------------  ---------------------------------------------------------------
    one that had slots has none any more             its successor may lack what it was told last
    one has another history (`master_replid`)        the same: it was started again, or was a replica in between
    one is silent, or no primary                     the map is read anew, and all are asked again; those that do not
                                                     tell their histories (no `+info`) may have lost something then
    slots went from one that stays to another one    nothing: that loses no key
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from mooring.store.trouble import RAISED
from mooring.store.watching import Watching


@dataclass(frozen=True, slots=True)
class _Told:
    """
    Attributes:
        primaries: those that have slots, by the cluster's ids.
        histories: of those that were asked, by address; "" of one that does not tell.
    """

    primaries: frozenset[str] = frozenset()
    histories: dict[str, str] = field(default_factory=dict)

    def is_lost_in(self, later: _Told, *, was_silent: bool) -> bool:
        if self.primaries - later.primaries:
            return True
        return any(
            history != self.histories.get(name, history) or (was_silent and not history)
            for name, history in later.histories.items()
        )


class ClusterWatch(Watching):
    """Asks all primaries in the background. For all other kinds of Redis it does nothing.

    Args:
        client: redis-py's, for this alone: whoever else uses it may make it connect anew unseen.
        on_loss: called where the cluster may have lost some of what it was told.
    """

    _NAME = "mooring cluster"

    def __init__(self, client: Any, on_loss: Callable[[], None], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(now)
        self._client = client if isinstance(client, RedisCluster) else None
        self._on_loss = on_loss
        # What all of them said last, and whether any was silent since.
        self._told: _Told | None = None
        self._was_silent = False

    @property
    def _has_whom_to_ask(self) -> bool:
        return self._client is not None

    async def aclose(self) -> None:
        await super().aclose()
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            told = await _told_by_all(client)
            if told is None or self._told is None or told.primaries != self._told.primaries:
                await client.aclose()  # it asks those that its own map names, and does not renew that by itself
        except RAISED:
            told = None
            await client.aclose()
        if told is None:
            self._was_silent = True
            return
        known, self._told = self._told, told
        was_silent, self._was_silent = self._was_silent, False
        if was_silent if known is None else known.is_lost_in(told, was_silent=was_silent):
            self._on_loss()


async def _told_by_all(client: RedisCluster) -> _Told | None:
    """None where one of them is no primary any more."""
    await client.initialize()
    primaries: list[Any] = client.get_primaries()
    asked = [asyncio.ensure_future(_told_by(primary)) for primary in primaries]
    await asyncio.gather(*asked, return_exceptions=True)  # none goes on when the client is closed after a failure
    answers = [answer.result() for answer in asked]
    histories = {primary.name: history for primary, (_, history) in zip(primaries, answers, strict=True)}
    # As most of them have it: one that is cut off from the others does not know better.
    ids = Counter(ids for ids, _ in answers).most_common(1)[0][0]
    known = {name: history for name, history in histories.items() if history is not None}
    return _Told(ids, known) if len(known) == len(primaries) else None


async def _told_by(primary: Any) -> tuple[frozenset[str], str | None]:
    """Which primaries have slots, as this one sees it, and its history: None where it is none any more."""
    ranges = await primary.execute_command("CLUSTER", "SLOTS")
    ids = frozenset(_text(owner[2]) for _, _, owner, *_ in ranges)
    try:
        said = await primary.execute_command("INFO", "replication")
    except ResponseError:
        return ids, ""
    if said.get("role") == "slave":
        return ids, None
    return ids, str(said.get("master_replid", ""))


def _text(told: bytes | str) -> str:
    return told.decode(errors="replace") if isinstance(told, bytes) else told
