"""The app's lifespan with the node's inside it (ASGI, Lifespan Protocol)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.errors import MooringError
from mooring.node.node import Node
from mooring.processes.tasks import end

logger = logging.getLogger("mooring.lease")


class Lifespan:
    """One lifespan. The node joins its cluster once the app has started, and leaves before the app stops.

    Where the app's own lifespan ends before the server stops, the node still leaves when it does; and where it ends by
    an exception, which takes with it what the app had started, other nodes get what this one has.

    Args:
        node: is started and stopped.
        receive, send: the server's; the app gets this object's own.
        drain: gives all that the node has to others.
    """

    def __init__(self, node: Node, receive: Receive, send: Send, drain: Callable[[], Awaitable[None]]) -> None:
        self._node = node
        self._receive = receive
        self._send = send
        self._drain = drain
        # Between the app's start and the server's stop.
        self._is_served = False
        # Gives all away where the app has failed meanwhile.
        self._draining: asyncio.Task[None] | None = None
        # Whether the app has taken the server's first message: if not, `_start_without_app` has to take it.
        self._was_asked = False
        # Whether the app has answered anything: one that fails before that has no lifespan, and is served without.
        self._has_answered = False
        # Why the node could not start, though the app has: that is told to stop before the server hears of it.
        self._failure: MooringError | None = None
        self._has_told_failure = False
        # What the app keeps from its start for its requests, where the server passes it on.
        self._app_state: dict[str, Any] = {}

    async def run(self, app: App, scope: Scope) -> None:
        self._app_state = scope.get("state", {})
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            if self._failure is not None:
                logger.exception("the app failed to stop, after the node could not start")
            elif self._is_served:
                self._give_up(error)
            elif self._has_answered:
                raise
            else:
                logger.warning(
                    "the app runs no lifespan and is served without: %s: %s; mend that if it should run one",
                    type(error).__name__,
                    error,
                )
        if not self._has_answered:
            await self._start_without_app()
        if self._is_served:
            await self._stop_without_app()
        await self._tell_failure()

    def _give_up(self, error: Exception) -> None:
        logger.error(
            "the app's lifespan has failed while it is served, and what it had started may be gone: what lives here "
            "goes to other nodes, as far as there are any; start this one again",
            exc_info=error,
        )
        self._draining = asyncio.ensure_future(self._drain())

    async def _start_without_app(self) -> None:
        """The node's lifespan alone, where the app has none (ASGI, Lifespan Protocol: such an app is still served)."""
        if not self._was_asked:
            await self.receive()
        await self.send({"type": "lifespan.startup.complete"})

    async def _stop_without_app(self) -> None:
        while (await self.receive())["type"] != "lifespan.shutdown":
            pass
        await self.send({"type": "lifespan.shutdown.complete"})

    async def receive(self) -> Message:
        if self._failure is not None:
            return {"type": "lifespan.shutdown"}
        message = await self._receive()
        self._was_asked = True
        if message["type"] == "lifespan.shutdown":
            self._is_served = False
            if self._draining is not None:
                await end(self._draining)
            await self._node.stop()
        return message

    async def send(self, message: Message) -> None:
        self._has_answered = True
        if self._failure is not None:
            await self._tell_failure()
            return
        if message["type"] == "lifespan.startup.complete":
            try:
                await self._node.start(self._app_state)
            except MooringError as error:
                self._failure = error  # the app gives up what it holds, since it hears nothing else of this
                return
            except asyncio.CancelledError:  # told to stop while it joins: no peer waits for its lease to end
                await self._node.stop()
                raise
            self._is_served = True
        await self._send(message)

    async def _tell_failure(self) -> None:
        """Tell the server, once, that the node did not start, and why."""
        if self._failure is None or self._has_told_failure:
            return
        self._has_told_failure = True
        try:
            raise self._failure
        except MooringError as error:  # a server of ours looks which it is
            await self._send({"type": "lifespan.startup.failed", "message": str(error)})
