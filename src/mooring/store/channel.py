"""A channel in Redis (pub/sub) by which all nodes hear what one of them says. Nothing on it is kept.

It has two connections of its own, so that neither leases nor records wait for it, nor it for them: one to say, one to
hear. The latter is made anew for each time of hearing, so that it never comes back unseen: whoever hears learns when
messages may be missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, Protocol

from redis.exceptions import TimeoutError as RedisTimeoutError

from mooring.core.masking import masked
from mooring.errors import StoreUnavailable
from mooring.store.clients import client_of, database_of
from mooring.store.keys import Keys
from mooring.store.lane import Command, Lane
from mooring.store.primary import PrimaryWatch
from mooring.store.trouble import RAISED, explain

_LOOK_SECONDS: Final = 1.0
"""How often a silent connection is looked after."""
SILENT_SECONDS: Final = 5.0
"""Of how long a silence Redis is asked whether it is still there; after twice that it is not."""


class Channel(Protocol):
    async def say(self, message: bytes) -> None:
        """Have all nodes hear this, ourselves as well.

        Raises:
            StoreUnavailable: nobody may have heard it, or everybody.
        """
        ...

    def hear(self) -> AsyncGenerator[bytes | None, None]:
        """What is said, from the first None on; each further None is for messages that may be missing there.

        It may end by itself: then whoever hears has to begin again.

        Raises:
            StoreUnavailable: from now on nothing is heard.
        """
        ...

    async def aclose(self) -> None: ...


class RedisChannel:
    """
    Args:
        url: see `mooring.store.clients`.
        prefix: of every key.
        timeout_seconds: how long Redis may take for one answer.
    """

    def __init__(
        self, url: str, prefix: str, timeout_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._now = now
        self._speaking = client_of(url, timeout_seconds)
        self._name = Keys(prefix).events_in(database_of(self._speaking))
        self._lane = Lane(self._speaking, self._explain)

    async def say(self, message: bytes) -> None:
        await self._lane.ask("telling of a change", Command(("PUBLISH", self._name, message)))

    async def hear(self) -> AsyncGenerator[bytes | None, None]:
        client = client_of(self._url, self._timeout_seconds)
        has_moved = asyncio.Event()
        watch = PrimaryWatch([client, self._speaking], lambda: self._move(has_moved))
        heard = client.pubsub()
        try:
            async with asyncio.timeout(2 * self._timeout_seconds):
                await client.initialize()  # of a cluster it asks for the map
                await heard.subscribe(self._name)
            async for message in self._messages(heard, watch, has_moved):
                if message["type"] == "subscribe":
                    yield None
                elif message["type"] == "message":
                    yield message["data"]
        except (*RAISED, TimeoutError) as error:
            raise self._explain(error, "listening for changes") from None
        finally:
            await watch.aclose()
            await heard.aclose()
            await client.aclose()

    async def aclose(self) -> None:
        await self._lane.aclose()

    async def _messages(
        self, heard: Any, watch: PrimaryWatch, has_moved: asyncio.Event
    ) -> AsyncIterator[dict[str, Any]]:
        last, asked = self._now(), False
        while not has_moved.is_set():
            watch.glance()
            message = await heard.get_message(timeout=_LOOK_SECONDS)
            silence = self._now() - last
            if message is not None:
                last, asked = self._now(), False
                yield message
            elif silence > 2 * SILENT_SECONDS:
                raise RedisTimeoutError
            elif silence > SILENT_SECONDS and not asked:
                asked = True
                await heard.ping()

    def _move(self, has_moved: asyncio.Event) -> None:
        """Another server is the primary: what is said there is not heard here."""
        has_moved.set()
        self._lane.connect_anew()

    def _explain(self, error: Exception, doing: str) -> StoreUnavailable:
        return explain(error, masked(self._url), doing)
