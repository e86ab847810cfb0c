"""Whether the address that a node gives its peers leads to it, and to no other process.

It calls itself when it starts. It keeps trying for a while, since a server may listen only once all of its apps have
started, and a process that is being replaced may still answer there. And it looks for others at its address, for as
long as there is none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mooring.core.model import NodeInfo
from mooring.errors import MooringError, PeerSilent, SignatureError
from mooring.node.links.place import Place

logger = logging.getLogger("mooring.lease")

_PAUSES_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_SETTINGS: Final = "set advertise_url to where this very process is reached"
_OWN_PORT: Final = "set peer_host, and peer_ports if need be, to where this process can be reached"


class OwnAddress:
    """
    Args:
        is_shared: whether the node's view knows another process at its URL.
        call: as `PeerQuestions.call`; None where there are no peers.
        beat: tells the peers of a new place.
        every_seconds: how often the view is looked at.
    """

    def __init__(
        self,
        place: Place,
        describe: Callable[[], NodeInfo],
        *,
        is_shared: Callable[[], bool],
        call: Callable[[NodeInfo], Awaitable[None]] | None,
        beat: Callable[[], Awaitable[None]],
        every_seconds: float,
    ) -> None:
        self._place = place
        self._describe = describe
        self._is_shared = is_shared
        self._call = call
        self._beat = beat
        self._every_seconds = every_seconds
        # From `watch` to `leave`.
        self._tasks: list[asyncio.Task[object]] = []

    async def watch(self) -> None:
        """From when the node has joined. If others are known to be at its URL, it has its own port before this ends."""
        if self._place.may_be_shared:
            moving = asyncio.create_task(self._move_once_shared(), name="mooring place")
            self._tasks.append(moving)
            if self._is_shared():
                await asyncio.wait({moving})
        if self._call is not None:
            calling = check_own_address(self._call, self._describe)
            self._tasks.append(asyncio.create_task(calling, name="mooring own address"))

    def leave(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _move_once_shared(self) -> None:
        """Have peers come to a port of our own as soon as another process is seen at our URL."""
        while not self._is_shared():  # noqa: ASYNC110 - the view is replaced, and tells nobody
            await asyncio.sleep(self._every_seconds)
        try:
            await self._place.move()
        except MooringError as error:
            logger.error(
                "other processes are at %s, too, so that peers do not find this one: %s", self._place.url, error
            )
            return
        logger.info("other processes are at our address, too (advertise_url): peers come to %s", self._place.url)
        await self._beat()


async def check_own_address(
    call: Callable[[NodeInfo], Awaitable[None]],
    describe: Callable[[], NodeInfo],
    pauses_seconds: Sequence[float] = _PAUSES_SECONDS,
) -> bool:
    """Whether this node answers to its name at its own address. If not, one warning says what does.

    Args:
        call: as `PeerQuestions.call`.
        describe: what this node says of itself; the address may change meanwhile.
    """
    why = ""
    for pause in pauses_seconds:
        await asyncio.sleep(pause)
        try:
            await call(describe())
            return True
        except PeerSilent as error:
            why = f"nobody answers from here ({error}), so its peers most likely do not reach it either: "
        except SignatureError as error:
            why = (
                f"something else answers ({error}), which gets what peers pass on to this node: "
                "an app around Mooring may have to let /.mooring/ through; if it is another process, "
            )
    me = describe()
    logger.warning("at %s, this node's address, %s%s", me.url, why, _SETTINGS if me.client_url is None else _OWN_PORT)
    return False
