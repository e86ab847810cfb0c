"""What is under way in a shard outside of any session of it: while it is, the shard stays on this node."""

from __future__ import annotations

import time


class Arrivals:
    """Sessions of one node that are being opened or revived, and calls outside of any, by the shards they are in."""

    def __init__(self) -> None:
        # When each began, by a clock that does not go back.
        self._began: dict[str, list[float]] = {}

    def one_in(self, *shards: str | None) -> Arrival:
        """Within this context there is one more, in these shards."""
        return Arrival(self, [shard or "" for shard in shards])

    def begin(self, shards: list[str]) -> float:
        """There is one more in these; returns when it began."""
        since = time.monotonic()
        for shard in shards:
            self._began.setdefault(shard, []).append(since)
        return since

    def end(self, shards: list[str], since: float) -> None:
        """The one that began then is over."""
        for shard in shards:
            began = self._began[shard]
            began.remove(since)
            if not began:
                del self._began[shard]

    def are_in(self, shard: str, longer_than: float = 0.0) -> bool:
        """Whether one of them has been going on for so many seconds."""
        since = time.monotonic() - longer_than
        return any(began <= since for began in self._began.get(shard, ()))


class Arrival:
    """One of them, within its context. A class, since each call with a handle makes one: a generator takes longer."""

    __slots__ = ("_arrivals", "_shards", "_since")

    def __init__(self, arrivals: Arrivals, shards: list[str]) -> None:
        self._arrivals = arrivals
        self._shards = shards
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = self._arrivals.begin(self._shards)

    def __exit__(self, *_: object) -> None:
        self._arrivals.end(self._shards, self._since)
