"""Where a server runs no lifespan, the first request that needs the node has it join its cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from mooring.asgi import Send, respond
from mooring.errors import MooringError
from mooring.node.node import Node

logger = logging.getLogger("mooring.sessions")


class LateJoining:
    """
    Args:
        node: that of this process, where the app may have been made in its parent.
    """

    def __init__(self, node: Callable[[], Node]) -> None:
        self._node = node
        # The first requests wait here for one of them to join the cluster.
        self._turn = asyncio.Lock()
        # How often that has failed.
        self._failures = 0
        self._start: asyncio.Task[None] | None = None

    async def has_joined(self, send: Send) -> bool:
        """Whether the node is in its cluster, once it has tried to be.

        Sends 503 where that fails: to all who waited for it. Each try takes a while, and one after the other would take
        longer than any of them waits.
        """
        joined = await self.joins()
        if not joined:
            await respond(send, 503, b"The node cannot start; its log says why.\n")
        return joined

    async def joins(self) -> bool:
        """The same, and nothing is sent."""
        failed_before = self._failures
        async with self._turn:
            node = self._node()
            try:
                if failed_before == self._failures and not node.has_joined and not node.was_refused:
                    await self._started(node)
            except MooringError as error:
                self._failures += 1
                logger.error("the node cannot start: %s", error)
        return node.has_joined

    async def _started(self, node: Node) -> None:
        """The node starts, to its end: some servers cancel the request of a client that leaves, and others wait.

        Raises:
            MooringError: it cannot.
        """
        if self._start is None or self._start.done():
            self._start = asyncio.create_task(node.start(), name="mooring start")
            self._start.add_done_callback(lambda start: start.cancelled() or start.exception())  # it is told elsewhere
        await asyncio.shield(self._start)
