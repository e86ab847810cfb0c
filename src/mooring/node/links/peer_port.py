"""A port of the process's own, for its peers alone: where several processes share an address, it leads to any of them.

It runs in the app's event loop, whichever server serves the app's clients.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
from typing import Any, Final

import uvicorn
from uvicorn.server import ServerState

from mooring.asgi import App, Receive, Scope, Send
from mooring.errors import ClusterError, SettingsError
from mooring.processes.addresses import address_towards
from mooring.processes.ports import join, listen

_BACKLOG: Final = 2048
_KEEP_ALIVE_SECONDS: Final = 75
"""Longer than a peer keeps an idle connection, so that none of its requests meets a close."""
_DRAIN_SECONDS: Final = 5.0
"""How long peers' requests may go on once the process stops; the server itself has waited for its clients' by then."""


class PeerPort:
    """Opened, drained and closed once.

    Args:
        app: answers the peers.
        host: the address to listen on; None for the one from which this machine speaks to Redis.
        ports: the first free one of these; 0 means any.

    Attributes:
        url: where it is; "" until it is open.
    """

    def __init__(self, app: App, host: str | None, ports: range, redis_url: str | None) -> None:
        self.url = ""
        self._app = app
        self._host = host
        self._ports = ports
        self._redis_url = redis_url
        self._server: asyncio.Server | None = None
        # The connections and the tasks that run on them.
        self._state = ServerState()
        # Those of the tasks that carry something out; a GET only listens, and would do so for ever.
        self._working: set[asyncio.Task[Any]] = set()

    async def open(self, app_state: dict[str, Any]) -> None:
        """Listen, and serve.

        Args:
            app_state: of the app's lifespan, which each request gets a copy of, as from any server.

        Raises:
            SettingsError: one cannot listen on that host, or on any of these ports.
            StoreUnavailable: Redis's host cannot be found.
        """
        host = self._host or address_towards(self._redis_url)
        listener = self._listen(host)
        config = uvicorn.Config(
            self._answer,
            http="httptools",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        config.load()
        protocol: Any = config.http_protocol_class
        self._server = await asyncio.get_running_loop().create_server(
            functools.partial(protocol, config=config, server_state=self._state, app_state=app_state), sock=listener
        )
        self.url = f"http://{join(host, listener.getsockname()[1])}"

    def _listen(self, host: str) -> socket.socket:
        for port in self._ports:
            try:
                return listen(host, port, _BACKLOG)
            except ClusterError as error:
                failure = error
                if not _is_in_use(error):
                    raise SettingsError(
                        "peer_host", host, f"it has to be an address of this machine: {error}"
                    ) from error
        shown = f"{self._ports[0]}-{self._ports[-1]}"
        raise SettingsError("peer_ports", shown, f"none is free on {host}, and each process needs one") from failure

    async def drain(self) -> None:
        """Take no new connection, and wait for what peers have asked for."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._working:
            await asyncio.wait(self._working, timeout=_DRAIN_SECONDS)

    async def close(self) -> None:
        """End what is left: streams, and what took too long."""
        for connection in list(self._state.connections):
            connection.transport.abort()
        if self._state.tasks:
            await asyncio.wait(list(self._state.tasks), timeout=_DRAIN_SECONDS)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is not None and scope["method"] != "GET":
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        await self._app(scope, receive, send)


def _is_in_use(error: ClusterError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
