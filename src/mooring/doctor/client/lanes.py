"""The connections that the doctor keeps, and what it does where a deployment serves no more of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp

_FEWEST_KEPT: Final = 2
"""Every client may well have so many connections."""


class Lane:
    """One connection, kept open between requests; a new one where the other side has closed it."""

    def __init__(self) -> None:
        self.http = http_session(aiohttp.TCPConnector(limit=1, keepalive_timeout=60.0))
        self.is_busy = False
        self.was_dropped = False

    async def drop(self) -> None:
        """Close the connection, where nothing is under way on it; the next request opens another."""
        if not self.is_busy:
            self.was_dropped = True
            before, self.http = self.http, http_session(aiohttp.TCPConnector(limit=1, keepalive_timeout=60.0))
            await before.close()


class Lanes:
    """All that are kept.

    Attributes:
        most_served: about how many connections are served at a time, where more were left waiting; 0 where none was,
            as far as was seen.
    """

    def __init__(self) -> None:
        self.most_served = 0
        self._all: list[Lane] = []
        self._has_made_room = False  # it was tried whether fewer connections help
        self._making_room = asyncio.Lock()
        self._kept = 0  # how many there were before room was made

    def new(self) -> Lane:
        """Another one, closed with all."""
        lane = Lane()
        self._all.append(lane)
        return lane

    async def close(self) -> None:
        await asyncio.gather(*(lane.http.close() for lane in self._all))

    async def make_room(self, are_others_served: Callable[[], Awaitable[bool]]) -> bool:
        """Close the connections that are kept and at rest, and whether what went unanswered is to be sent once more: it
        may be their number that keeps others waiting. That is tried once, and then for all that waited as long.

        Args:
            are_others_served: whether anything is answered on new connections; while as many as may be are there,
                nothing is, whatever is asked.
        """
        async with self._making_room:
            if self._has_made_room:
                return self.most_served > 0
            kept = [lane for lane in self._all if not lane.is_busy and not lane.was_dropped]
            self._has_made_room = True
            if len(kept) < _FEWEST_KEPT or await are_others_served():
                return False
            self._kept = len(kept)
            await asyncio.gather(*(lane.drop() for lane in kept))
            return True

    def note_room(self, *, is_answered: bool) -> None:
        """What came of asking again once there was room."""
        if is_answered and not self.most_served:
            self.most_served = self._kept

    async def rest(self) -> None:
        """Close those that are kept but for the first, since it may be their number that is limited."""
        await asyncio.gather(*(lane.drop() for lane in self._all[1:]))

    async def let_go(self, lane: Lane, *, is_slow: bool) -> None:
        """Its request is over. Where the number of connections may be limited, one is kept and no more."""
        lane.is_busy = False
        if (is_slow or self.most_served) and lane is not self._all[0]:
            await lane.drop()


def http_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    """One that decides nothing by itself: no cookies, no limit on time."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=65_536,
        max_field_size=65_536,
    )
