"""Where a node is reached, by its clients and by its peers.

Most often both come to one address, which is this process's alone. Where several processes serve one (`--workers 4`), a
peer would reach any of them, so each opens a port of its own for its peers:

    advertise_url    peer_ports    a port of its own
    ---------------  ------------  -------------------------------------------------------------
    set              not set       from when another node is seen that answers at the same URL
    set              set           from the start
    not set          whatever      from the start; there is no URL for clients and the ingress
    not set, and no other node (no redis_url): never
    peer_link = redis: where peer_ports is set, for peers that do not come through Redis yet
"""

from __future__ import annotations

from typing import Any, Final

from mooring.asgi import App
from mooring.node.links.peer_port import PeerPort
from mooring.settings import Settings

_NO_PEERS_URL: Final = "http://localhost"


class Place:
    """One node's place.

    Args:
        answer_peer: the app for what comes by the port for peers.
    """

    def __init__(self, settings: Settings, answer_peer: App) -> None:
        self._settings = settings
        self._port = PeerPort(answer_peer, settings.peer_host, settings.peer_port_range, settings.redis_url)
        self._client_url = settings.advertise_url or ("" if settings.redis_url else _NO_PEERS_URL)
        # Of the app's lifespan; from `take` on.
        self._app_state: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """Where peers reach the node; "" where nobody can as yet."""
        return self._port.url or self._client_url

    @property
    def client_url(self) -> str | None:
        """As in `NodeInfo`."""
        return self._client_url if self._port.url else None

    @property
    def may_be_shared(self) -> bool:
        """Whether somebody has to look for others at the same URL."""
        return not self._port.url and self._settings.advertise_url is not None and not self._needs_none

    @property
    def _needs_none(self) -> bool:
        """Whether peers come through Redis alone."""
        return self._settings.peer_link == "redis"

    async def take(self, app_state: dict[str, Any]) -> None:
        """Before the node joins; again where it could not join, and tries anew.

        Raises:
            SettingsError, StoreUnavailable: as `PeerPort.open`.
        """
        self._app_state = app_state
        is_needed = self._settings.peer_ports is not None or (not self._client_url and not self._needs_none)
        if is_needed and not self._port.url:
            await self._port.open(app_state)

    async def move(self) -> None:
        """Have peers come to a port of the process's own from now on.

        Raises:
            SettingsError, StoreUnavailable: as `PeerPort.open`.
        """
        await self._port.open(self._app_state)

    async def drain(self) -> None:
        """Before the node leaves its cluster."""
        await self._port.drain()

    async def leave(self) -> None:
        """When it has."""
        await self._port.close()
