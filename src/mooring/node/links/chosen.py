"""Which way leads to each peer (`peer_link`): straight to its address, or through Redis.

here      the peer         a request goes
--------  ---------------  ---------------------------------------------------------------------------
direct    whatever         to its address
redis     reads a mailbox  through Redis
redis     direct           to its address, as while the setting is changed
auto      direct           to its address
auto      redis            through Redis
auto      auto             to its address where a call to it was answered, else through Redis; one that
                           was not is called again after a while, and one that cannot be reached, as well
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from mooring.asgi import HeaderList
from mooring.core.model import NodeInfo
from mooring.errors import PeerSilent, SignatureError
from mooring.node.links.peer_link import PassedRequest, PeerLink

logger = logging.getLogger("mooring.forwarding")

AGAIN_SECONDS: Final = 30.0
"""How long a peer's address is left alone that did not answer."""


@dataclass(slots=True)
class _Found:
    """What a call to a peer's address has shown, and until when that counts."""

    url: str
    is_direct: bool
    until: float


class RelayedLink(PeerLink, Protocol):
    async def get(self, peer: NodeInfo, target: str, headers: HeaderList) -> tuple[int, HeaderList, bytes]:
        """As in `PeerRelay`."""
        ...


class ChosenLink:
    """
    Args:
        mode: the setting.
        call: as `PeerQuestions.call`.
        is_alive: whether a node's lease is alive.
    """

    def __init__(
        self,
        mode: str,
        direct: PeerLink,
        relayed: RelayedLink,
        call: Callable[[NodeInfo], Awaitable[None]],
        is_alive: Callable[[str], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode = mode
        self._direct = direct
        self._relayed = relayed
        self._call = call
        self._is_alive = is_alive
        self._now = now
        self._found: dict[str, _Found] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}

    @property
    def relayed_to(self) -> tuple[str, ...]:
        """The living peers that were found out to be reached through Redis alone."""
        alive = {node_id: found for node_id, found in self._found.items() if self._is_alive(node_id)}
        self._found = alive
        return tuple(sorted(node_id for node_id, found in alive.items() if not found.is_direct))

    async def aclose(self) -> None:
        for task in self._calls.values():
            task.cancel()
        await self._direct.aclose()
        await self._relayed.aclose()

    async def goes_past(self, peer: NodeInfo) -> bool:
        return await (await self._link(peer)).goes_past(peer)

    async def forward(self, peer: NodeInfo, request: PassedRequest) -> None:
        link = await self._link(peer)
        try:
            await link.forward(peer, request)
        except PeerSilent as error:
            if link is self._direct and not error.may_have_run:
                self._found.pop(peer.id, None)  # it is called anew for the next request
            raise

    def leads_to(self, peer: NodeInfo) -> bool:
        """Whether the peer is reached through Redis alone, as far as is known without a call."""
        if peer.peer_link == "direct":
            return False
        found = self._found.get(peer.id)
        is_away = found is not None and found.url == peer.url and not found.is_direct
        return self._mode == "redis" or peer.peer_link == "redis" or not peer.url or is_away

    async def get(self, peer: NodeInfo, target: str, headers: HeaderList) -> tuple[int, HeaderList, bytes]:
        """As in `PeerRelay`."""
        return await self._relayed.get(peer, target, headers)

    async def _link(self, peer: NodeInfo) -> PeerLink:
        if peer.peer_link == "direct":
            return self._direct
        if self._mode == "redis" or peer.peer_link == "redis" or not peer.url:
            return self._relayed
        found = self._found.get(peer.id)
        if found is None or found.url != peer.url:
            await asyncio.wait({self._calling(peer)})
            found = self._found.get(peer.id)
        elif self._now() > found.until:
            self._calling(peer)  # what is known counts until there is an answer
        return self._direct if found is not None and found.is_direct else self._relayed

    def _calling(self, peer: NodeInfo) -> asyncio.Task[None]:
        """One call for however many requests wait for it."""
        if peer.id not in self._calls:
            task = asyncio.create_task(self._find_out(peer), name="mooring peer call")
            self._calls[peer.id] = task
            task.add_done_callback(lambda _: self._calls.pop(peer.id, None))
        return self._calls[peer.id]

    async def _find_out(self, peer: NodeInfo) -> None:
        why = ""
        try:
            await self._call(peer)
        except (PeerSilent, SignatureError) as error:
            why = str(error)
        before = self._found.get(peer.id)
        self._found[peer.id] = _Found(peer.url, not why, self._now() + AGAIN_SECONDS)
        if why and (before is None or before.is_direct):
            logger.info("node %s is reached through Redis, not at %s (peer_link = auto): %s", peer.id, peer.url, why)
