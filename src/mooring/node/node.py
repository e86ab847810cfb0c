"""One node: what it is, what it holds, and how it starts and stops."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import secrets
import time
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any

from mooring.asgi import App, Receive, Scope, Send, respond, route_of
from mooring.core.endpoints import FOUND_AT_MOST, Endpoints
from mooring.core.handles import RANDOM_BYTES, Handle, Handles
from mooring.core.ids import ENTROPY_BYTES, SHARD_LENGTH, SessionIds, derive_key, shard_from_entropy
from mooring.core.membership import Membership
from mooring.core.model import TAKES_NEW_SESSIONS, NodeInfo, NodeState
from mooring.core.request import RequestFacts
from mooring.core.stream_ids import StreamIds
from mooring.core.text import clean
from mooring.core.wrapping import CURSOR, TASK
from mooring.errors import SettingsError
from mooring.node.arrivals import Arrivals
from mooring.node.carrying import Carrying
from mooring.node.cluster_secrets import check_secrets, cluster_secrets, fingerprint
from mooring.node.counters import Tally
from mooring.node.current import joined, left
from mooring.node.links.own_address import OwnAddress
from mooring.node.links.place import Place
from mooring.node.links.ways import DIRECT, Ways
from mooring.node.listeners import Listeners
from mooring.node.log_once import LogOnce
from mooring.node.membership.lease import LeaseKeeper
from mooring.node.membership.pulse import Pulse
from mooring.node.membership.session import LocalSession
from mooring.node.membership.sessions import LocalSessions
from mooring.node.open_calls import OpenCalls
from mooring.node.own_loop import OwnLoop
from mooring.node.peer_claims import PeerClaims
from mooring.node.shared_events import SharedEvents
from mooring.node.streams.memory import StreamMemory
from mooring.node.streams.writing_behind import WriteBehind
from mooring.settings import Settings
from mooring.store import Store
from mooring.store.channel import Channel
from mooring.store.mailbox import Mailbox

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
        answer_peer: the app for what comes by a port for peers alone, where the node opens one, or through Redis.
        channel: by which all nodes hear of changes; None where nobody else could.
        open_mailbox: of the node with this id, for what peers pass on through Redis; None where nothing does.
        is_alone: nobody shares the store, and it goes with this process: nothing is written there for another node.

    Attributes:
        id: of this one process: `<name>-<5 letters>`, so that a restarted node is never taken for the one before.
        ids: mints and verifies session ids, and `handles` those of the modern era.
        wrap_rules: which of the server's own ids are wrapped; `wrapped_members` of results are, too, and come back as
            `wrapped_parameters`.
        endpoints: the paths of the app's MCP endpoints, as far as they are known.
        secrets: of the cluster, the first one signs; or one of its own.
        peer_keys: the first signs what nodes tell each other; of what they tell us, any may have been used.
        claims: of peers, each accepted once.
        streams: that clients may come back to.
        held: how many requests wait for a shard to have an owner that answers.
        moves: held by whoever gives shards away: one at a time.
        is_alone: as given.
        beside: what runs while the node is in its cluster.
        is_ending: it has given away what it could, and is about to end: load balancers look elsewhere.
        listeners: who listens to its sessions' streams.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        open_store: Callable[[], Store] | None = None,
        answer_peer: App = refuse_all,
        channel: Channel | None = None,
        *,
        open_mailbox: Callable[[str], Mailbox] | None = None,
        is_alone: bool = False,
    ) -> None:
        self.settings = settings
        self.store = store
        self.id = f"{settings.node_name}-{_fresh_shard()}"
        self.secrets = secrets_known = cluster_secrets(settings)
        self.ids = SessionIds(*secrets_known)
        self.handles = Handles(*secrets_known)
        self.wrap_rules = settings.wrap_rules
        wrapped = {TASK: settings.tasks, "requestState": settings.request_state}
        self.wrapped_members = tuple(name for name, where in wrapped.items() if where == "node")
        self.wrapped_parameters = (*self.wrapped_members, *((CURSOR,) if TASK in self.wrapped_members else ()))
        self.endpoints = Endpoints(settings.endpoints, finds=settings.find_endpoints)
        self.peer_keys = [derive_key(secret, "peer request") for secret in secrets_known]
        max_age_ms = round(settings.peer_age_seconds * 1000)
        self.claims = PeerClaims(settings.peer_age_seconds, self.cluster_time)
        event_keys = [derive_key(secret, f"server event {settings.key_prefix}") for secret in secrets_known]
        self._events = SharedEvents(
            channel, event_keys[0], self.id, max_age_ms, older_keys=event_keys[1:], now=self.cluster_time
        )
        self.tally = Tally()
        self._behind = None if is_alone else self._a_writer_behind()
        self.streams = StreamMemory(
            StreamIds(*(derive_key(secret, "stream") for secret in secrets_known), which=self.ids.secret_of),
            settings.stream_log_bytes,
            settings.stream_room_bytes,
            settings.stream_log_seconds,
            self._behind,
        )
        self.sessions = LocalSessions(store, self.id, settings.session_ttl_seconds, settings.touch_seconds)
        self._pulse = None if open_store is None else self._a_pulse(open_store)
        on_beat = self._pulse.beat if self._pulse else lambda _: None
        self.ways = Ways(
            settings,
            self.id,
            secrets_known,
            lambda: self.membership.view,
            open_mailbox(self.id) if open_mailbox else None,
            answer_peer,
            self.cluster_time,
        )
        self.keeper = LeaseKeeper(
            store,
            settings,
            self.sessions,
            self.id,
            self.describe,
            tally=self.tally,
            ask_peers=self.ways.questions.ask,
            on_beat=on_beat,
        )
        self.sessions.records.when_written_again = self._write_work_again
        self._secret_id = fingerprint(secrets_known)
        self._place = Place(settings, answer_peer)
        # By this machine's clock, which may be wrong: other nodes go by the store's, as soon as that is known.
        self._made = time.time()
        # What runs beside the requests, from `start` to `stop`.
        self.beside: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._beside: list[asyncio.Task[None]] = []
        self.open_calls = OpenCalls()
        self.carrying = Carrying(store, settings, self.sessions)
        self.listeners = Listeners(self.sessions, self.streams, self.ids, self.carrying)
        self.log_once = LogOnce(settings)
        self.held = 0
        self.is_ending = False
        self._breaks_off = False
        self.moves = asyncio.Lock()
        self.is_alone = is_alone
        # Sessions that are being opened or revived, and calls with a handle that run.
        self.arrivals = Arrivals()
        # Counts the sessions that were opened: they go to our shards in turn.
        self._turn = 0
        # The heartbeat, from `start` to `stop`; and the loop that it runs in, for authors' threads.
        self._heart: asyncio.Task[None] | None = None
        self._loop = OwnLoop()
        self._own_address = OwnAddress(
            self._place,
            self.describe,
            is_shared=lambda: self.membership.view.shares_its_url(self.id),
            call=self.ways.questions.call if settings.redis_url and self.ways.mode == DIRECT else None,
            beat=self.keeper.beat,
            every_seconds=settings.heartbeat_seconds,
        )

    @property
    def membership(self) -> Membership:
        return self.keeper.membership

    def cluster_time(self) -> float:
        """Seconds since the epoch, by which peers tell how old something is that one of them has said."""
        return self.keeper.cluster_time

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
        """Whether what runs is broken off: its goodbye is the last that a node does."""
        return self._breaks_off or self.membership.state is NodeState.GONE

    @property
    def _is_joining(self) -> bool:
        """Whether its cluster knows of it, though it was not in it yet."""
        return not self.has_joined and self.membership.renewed_ms > 0 and not self.membership.has_left

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
            started=self.membership.joined or self._made,
            endpoints=self.endpoints.known,
            counters=self.tally.counters(self.streams.open_streams, len(self.streams)),
            client_url=self._place.client_url,
            peer_link=self.ways.mode,
            relayed_to=self.ways.relayed_to,
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
        app_state = {} if app_state is None else app_state
        await self._place.take(app_state)
        await self.keeper.join(_fresh_shard)
        try:
            check_secrets(self.membership.view.alive(), self._secret_id)
        except SettingsError:
            await self.keeper.leave()
            raise
        self._heart = asyncio.create_task(self.keeper.run(), name="mooring heartbeat")
        self._loop.is_this_one()
        await self.ways.open(app_state)
        joined(self)
        await self._own_address.watch()
        if self._pulse is not None:
            self._pulse.start()
        if self._behind is not None:
            self._behind.start()
        await self._events.start()
        self._beside = [asyncio.create_task(work(), name="mooring moves") for work in self.beside]
        logger.info("node %s joined with shards %s", self.id, " ".join(self.membership.shards))

    async def stop(self) -> None:
        """Leave the cluster. The sessions' transports end with the app."""
        left(self)
        for work in self._beside:
            work.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await asyncio.gather(self._place.drain(), self.ways.drain())
        self._own_address.leave()
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, self.sessions.settle(), return_exceptions=True)
            self._breaks_off = True
            await self.sessions.end_work()
            if self._pulse is not None:
                await asyncio.to_thread(self._pulse.stop)
            if self._behind is not None:
                await self._behind.stop()
        if self._heart is not None or self._is_joining:
            await self.keeper.leave()
        await self._events.stop()
        await self._place.leave()
        await self.ways.close()
        await self.store.aclose()

    def _a_writer_behind(self) -> WriteBehind:
        return WriteBehind(
            lambda: self.store.journal, self.settings.stream_write_after_seconds, self.settings.call_log_seconds
        )

    def _a_pulse(self, open_store: Callable[[], Store]) -> Pulse:
        return Pulse(
            open_store,
            self.id,
            heartbeat_seconds=self.settings.heartbeat_seconds,
            lease_seconds=self.settings.lease_seconds,
            hang_seconds=self.settings.hang_seconds,
        )

    def mint(self) -> tuple[str, str]:
        """A new session id and its shard: in turn those that this node began with, as long as it has any."""
        shard = self.next_shard()
        return self.ids.mint(shard, secrets.token_bytes(ENTROPY_BYTES)), shard

    def next_shard(self) -> str:
        """The one that the next new thing belongs to: none that is on its way to a peer, if there is another."""
        shards = self.keeper.adoption.own_shards() or list(self.membership.shards) or [_fresh_shard()]
        shards = [shard for shard in shards if not self.is_moving(shard)] or shards
        self._turn += 1
        return shards[self._turn % len(shards)]

    def mint_handle(self, kind: str, principal: str, shard: str | None, *, survives: bool) -> str:
        """A new handle for what is in this process from now on.

        Args:
            shard: of the session that it is minted in.
        """
        entropy = secrets.token_bytes(RANDOM_BYTES)
        text = self.handles.mint(shard or self.next_shard(), kind, entropy, principal, survives=survives)
        handle = self.handles.read(text)
        if handle is not None:
            self._loop.do(lambda: self.sessions.handles.add(handle, principal, may_begin=True))
        return text

    def state_of_handle(self, text: str) -> LocalSession | None:
        """What is kept of a handle that is here, in an author's thread too; None where nothing can be."""
        handle = self.handles.read(text)
        epoch = 0 if handle is None else self.membership.shards.get(handle.shard, 0)
        return self._loop.ask(lambda: self.sessions.handles.keep(text, epoch, self.settings.state_bytes))

    def end_handle(self, text: str) -> None:
        """What it stands for is gone: tell the handlers."""
        self._loop.do(lambda: self.sessions.handles.end(text))

    def shard_of(self, facts: RequestFacts) -> str | None:
        """The shard that a request belongs to; None where it names none that this cluster made."""
        if facts.placed_on is not None:
            return facts.placed_on
        if facts.handle is not None:
            handle = self.handles.read(facts.handle)
            return None if handle is None else handle.shard
        return None if facts.session_id is None else self.ids.shard_of(facts.session_id)

    def holds(self, handle: Handle) -> bool:
        """Whether what the handle stands for is in this process, as far as can be known.

        Of a wrapped one its server alone knows: it is where its shard began.
        """
        if handle.is_wrapped:
            self.keeper.adoption.notice_given()
            return handle.shard in self.membership.shards and handle.shard not in self.keeper.adoption.adopted
        return self.sessions.handles.find(handle.text) is not None

    def knows_elsewhere(self, handle: Handle) -> bool:
        """Whether another node, which is alive, has what the handle stands for, as far as is known."""
        owner = self.membership.view.owner_of(handle.shard)
        return owner is not None and owner.node_id != self.id and self.membership.view.is_alive(owner.node_id)

    def has_handles(self, shard: str) -> bool:
        """Whether something that a handle stands for is lost if the shard goes, as far as can be known.

        Of wrapped ones nobody keeps a list: each shard that began here may have some.
        """
        may_be_wrapped = bool(self.wrap_rules or self.wrapped_members) and shard in self.keeper.adoption.own_shards()
        return may_be_wrapped or self.sessions.handles.would_lose(shard)

    def is_moving(self, shard: str | None) -> bool:
        """Whether a shard is being given to a peer: what is asked of its sessions waits for that."""
        return shard in self.membership.moving

    async def may_open(self, shard: str) -> bool:
        """Whether the shard is still ours: the lease may have ended while the app answered."""
        holds_shards = bool(self.membership.shards)
        return await self.keeper.regain_in_time() and (not holds_shards or shard in self.membership.shards)

    def endpoint_of(self, scope: Scope) -> str | None:
        """The MCP endpoint that a request is for; None where there is none at its path.

        A path of the settings may be one below `root_path`, or one as the client has it.
        """
        below = self.endpoints.of(route_of(scope)) if scope.get("root_path") else None
        return below or self.endpoints.of(scope["path"])

    def found_endpoint(self, path: str) -> str:
        """The app gives out a session at this path, below `root_path`; returns its endpoint."""
        if self.endpoints.find(path):
            logger.info("found an MCP endpoint at %s (find_endpoints)", clean(path))
            if self.endpoints.is_full:
                logger.warning(
                    "found %d MCP endpoints, and finds no more: name them by a pattern (mcp_path, such as /{id}/mcp), "
                    "and find no others (find_endpoints)",
                    FOUND_AT_MOST,
                )
        return self.endpoints.of(path) or path

    def session_ended(self, session_id: str) -> None:
        """The app ended a session. Where it did so by itself, or the node stops, its record stays, to revive it."""
        if self.is_stopping:
            return
        session = self.sessions.find(session_id)
        if session is None or session.ends_as == "deleted" or not self.may_revive(session):
            self.sessions.close_soon(session_id)
        else:
            self.sessions.let_go_soon(session)

    def may_revive(self, session: LocalSession) -> bool:
        """Whether the session can be opened again when the app has ended it by itself."""
        return bool(session.initialize) and self.settings.revives(session.endpoint)

    def _write_work_again(self) -> None:
        """The store has every record again, and may have lost what runs in their sessions."""
        self.streams.write_again()
        self.keeper.running_calls.are_due()


def _fresh_shard() -> str:
    return shard_from_entropy(secrets.token_bytes(SHARD_LENGTH))


def _seems_a_worker() -> bool:
    """Whether a server with several processes seems to have started this one; with one worker it looks the same."""
    is_gunicorn = os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn/")
    return is_gunicorn or multiprocessing.parent_process() is not None
