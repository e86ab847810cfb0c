"""One node: what it is, what it holds, and how it starts and stops."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import multiprocessing
import os
import secrets
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from mooring.asgi import App, Receive, Scope, Send, respond, route_of
from mooring.core.endpoints import Endpoints
from mooring.core.ids import ENTROPY_BYTES, SHARD_LENGTH, SessionIds, derive_key, shard_from_entropy
from mooring.core.membership import Membership
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo, NodeState
from mooring.core.signing import NonceWindow
from mooring.errors import MooringError, SettingsError
from mooring.node.counters import Tally
from mooring.node.links.asking import PeerQuestions
from mooring.node.links.http import Forwarder
from mooring.node.links.place import Place
from mooring.node.membership.lease import LeaseKeeper
from mooring.node.membership.pulse import Pulse
from mooring.node.membership.sessions import LocalSessions
from mooring.settings import Settings
from mooring.store import Store

logger = logging.getLogger("mooring.lease")

_VERSION = version("mooring")


async def refuse_all(scope: Scope, receive: Receive, send: Send) -> None:
    """For a node that no peer asks."""
    await respond(send, 403, b"")


class Node:
    """
    Args:
        open_store: a second way to the same store, for the thread that keeps the lease while the event loop is busy;
            None where nobody else shares the store.
        answer_peer: the app for what comes by a port for peers alone, where the node opens one.

    Attributes:
        id: of this one process: `<name>-<5 letters>`, so that a restarted node is never taken for the one before.
        ids: mints and verifies session ids.
        endpoints: the paths of the app's MCP endpoints, as far as they are known.
        peer_key: signs what nodes tell each other.
        nonces: those that peers have used on this node.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        open_store: Callable[[], Store] | None = None,
        answer_peer: App = refuse_all,
    ) -> None:
        self.settings = settings
        self.store = store
        self.id = f"{settings.node_name}-{_fresh_shard()}"
        secret = _cluster_secret(settings)
        self.ids = SessionIds(secret)
        self.endpoints = Endpoints(settings.endpoints, finds=settings.find_endpoints)
        self.peer_key = derive_key(secret, "peer request")
        self.nonces = NonceWindow(round(settings.peer_age_seconds * 1000))
        self.tally = Tally()
        self.sessions = LocalSessions(store, self.id, settings.session_ttl_seconds, settings.touch_seconds)
        self._pulse = None if open_store is None else self._a_pulse(open_store)
        on_beat = self._pulse.beat if self._pulse else lambda _: None
        # A peer answers when the renewal is over that it is in the middle of, or begins then.
        questions = PeerQuestions(self.peer_key, self.id, settings.connect_seconds + 2 * settings.redis_timeout_seconds)
        self.keeper = LeaseKeeper(
            store, settings, self.sessions, self.id, self.describe, ask_peers=questions.ask, on_beat=on_beat
        )
        self.forwarder = Forwarder(
            self.peer_key,
            self.id,
            settings.connect_seconds,
            lambda node_id: self.membership.view.is_alive(node_id),
            settings.heartbeat_seconds,
        )
        self._secret_id = hashlib.sha256(derive_key(secret, "fingerprint")).hexdigest()[:8]
        self._place = Place(settings, answer_peer)
        self._started = time.time()
        # Counts the sessions that were opened: they go to our shards in turn.
        self._turn = 0
        # The heartbeat, from `start` to `stop`.
        self._heart: asyncio.Task[None] | None = None
        # Looks for other processes at the node's URL, for as long as there is none.
        self._looking: asyncio.Task[None] | None = None

    @property
    def membership(self) -> Membership:
        return self.keeper.membership

    @property
    def takes_new_sessions(self) -> bool:
        return self.membership.state in TAKES_NEW_SESSIONS and len(self.sessions) < self.settings.capacity

    @property
    def has_joined(self) -> bool:
        """Whether it was in its cluster; it serves nothing before that."""
        return self._heart is not None

    @property
    def was_refused(self) -> bool:
        """Whether its cluster refused it: it stays out until its settings are mended, which takes a new process."""
        return self.membership.state is NodeState.GONE and not self.has_joined

    @property
    def is_stopping(self) -> bool:
        return self.membership.state is NodeState.GONE

    def describe(self) -> NodeInfo:
        """What this node says of itself now."""
        return NodeInfo(
            id=self.id,
            name=self.settings.node_name,
            url=self._place.url,
            pid=os.getpid(),
            state=self.membership.state,
            sessions=len(self.sessions),
            capacity=self.settings.capacity,
            version=_VERSION,
            secret_id=self._secret_id,
            started=self._started,
            endpoints=self.endpoints.known,
            counters=self.tally.counters(),
            client_url=self._place.client_url,
        )

    async def start(self, app_state: dict[str, Any] | None = None) -> None:
        """Join the cluster and keep the lease.

        Args:
            app_state: of the app's lifespan.

        Raises:
            StoreUnavailable: a node does not start without its store.
            SettingsError: other nodes of this cluster have a different secret, or its peers have no way to come here.
        """
        if self.settings.redis_url is None and _seems_a_worker():
            logger.warning(
                "this process looks like one of several that share an address; without redis_url each of them knows "
                "its own sessions alone: set redis_url and secret, or serve with one worker"
            )
        await self._place.take({} if app_state is None else app_state)
        await self.keeper.join(_fresh_shard)
        try:
            self._check_secrets()
        except SettingsError:
            await self.keeper.leave()
            raise
        self._heart = asyncio.create_task(self.keeper.run(), name="mooring heartbeat")
        if self._place.may_be_shared:
            self._looking = asyncio.create_task(self._move_once_shared(), name="mooring place")
        if self._pulse is not None:
            self._pulse.start()
        logger.info("node %s joined with shards %s", self.id, " ".join(self.membership.shards))

    async def stop(self) -> None:
        """Leave the cluster. The sessions' transports end with the app."""
        await self._place.drain()
        if self._looking is not None:
            self._looking.cancel()
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, self.sessions.settle(), return_exceptions=True)
            if self._pulse is not None:
                await asyncio.to_thread(self._pulse.stop)
            await self.keeper.leave()
        await self._place.leave()
        await self.forwarder.aclose()
        await self.store.aclose()

    async def _move_once_shared(self) -> None:
        """Have peers come to a port of our own as soon as another process is seen at our URL."""
        while not self.membership.view.shares_its_url(self.id):  # noqa: ASYNC110 - the view is replaced, and tells nobody
            await asyncio.sleep(self.settings.heartbeat_seconds)
        try:
            await self._place.move()
        except MooringError as error:
            logger.error("other processes answer at %s, too, and no peer finds this one: %s", self._place.url, error)
            return
        logger.info("other processes answer at our address, too: peers come to %s", self._place.url)
        await self.keeper.beat()

    def _a_pulse(self, open_store: Callable[[], Store]) -> Pulse:
        return Pulse(
            open_store,
            self.id,
            heartbeat_seconds=self.settings.heartbeat_seconds,
            lease_seconds=self.settings.lease_seconds,
            hang_seconds=self.settings.hang_seconds,
        )

    def mint(self) -> tuple[str, str]:
        """A new session id and its shard: this node's shards in turn."""
        shards = list(self.membership.shards) or [_fresh_shard()]
        self._turn += 1
        shard = shards[self._turn % len(shards)]
        return self.ids.mint(shard, secrets.token_bytes(ENTROPY_BYTES)), shard

    async def may_open(self, shard: str) -> bool:
        """Whether the shard is still ours: the lease may have ended while the app answered."""
        holds_shards = bool(self.membership.shards)
        return await self.keeper.regain_in_time() and (not holds_shards or shard in self.membership.shards)

    def endpoint_of(self, scope: Scope) -> str | None:
        """The MCP endpoint that a request is for; None where there is none at its path.

        A path of the settings may be one below `root_path`, or one as the client has it.
        """
        return self.endpoints.of(route_of(scope)) or self.endpoints.of(scope["path"])

    def found_endpoint(self, path: str) -> str:
        """The app gives out a session at this path, below `root_path`; returns its endpoint."""
        if self.endpoints.find(path):
            logger.info("found an MCP endpoint at %s (find_endpoints)", path)
        return self.endpoints.of(path) or path

    def session_ended(self, session_id: str) -> None:
        """The app ended a session by itself. When the node itself stops, records stay: a peer answers for them."""
        if not self.is_stopping:
            self.sessions.close_soon(session_id)

    def _check_secrets(self) -> None:
        alive = self.membership.view.alive()
        # A node whose entry does not read has none.
        others = {info.name for info in alive if info.secret_id not in ("", self._secret_id)}
        if others:
            raise SettingsError(
                "secret", "(hidden)", f"not the one that {', '.join(sorted(others))} has; a cluster has one secret"
            )


def _fresh_shard() -> str:
    return shard_from_entropy(secrets.token_bytes(SHARD_LENGTH))


def _cluster_secret(settings: Settings) -> str:
    if settings.secret is not None:
        return settings.secret.get_secret_value()
    if settings.redis_url is None:
        return secrets.token_hex(32)
    raise SettingsError(
        "secret", None, "needed with redis_url, the same on every node; `openssl rand -hex 32` makes a good one"
    )


def _seems_a_worker() -> bool:
    """Whether a server with several processes seems to have started this one; with one worker it looks the same."""
    is_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    return is_gunicorn or multiprocessing.parent_process() is not None
