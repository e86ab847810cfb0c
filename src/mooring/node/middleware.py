"""`Mooring`: the plain ASGI middleware around any MCP app."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from collections.abc import Awaitable, Callable

from mooring.app_routes import apps_in
from mooring.asgi import (
    EVENT_STREAM,
    App,
    Message,
    Receive,
    Scope,
    Send,
    off_root,
    posts_json,
    request_header,
    route_of,
)
from mooring.core.ids import brief
from mooring.core.one_node import LOGIN, OneNodePaths
from mooring.core.passed_on import delimited
from mooring.core.request import PEER_HEADER, SESSION_HEADER, read_facts
from mooring.core.routing import Reason
from mooring.errors import SettingsError
from mooring.node.carrying import Dump, Load
from mooring.node.cors import Cors, is_preflight
from mooring.node.fastmcp_tasks import with_tasks_of
from mooring.node.late_joining import LateJoining
from mooring.node.lifespan import Lifespan
from mooring.node.login_routes import login_paths
from mooring.node.membership.session import CloseHandler, ReviveHandler
from mooring.node.moving.draining import drain_and_end
from mooring.node.moving.moves import Moves
from mooring.node.node import Node
from mooring.node.pages import health
from mooring.node.pages.status import StatusPage
from mooring.node.pages.token_page import TokenPage
from mooring.node.pages.traefik import TraefikPage
from mooring.node.requests.answers import refuse
from mooring.node.requests.peers_question import answer_question, is_question
from mooring.node.requests.plain_call import PlainCalls
from mooring.node.requests.router import Router
from mooring.processes.signals import before_sigterm
from mooring.settings import Settings
from mooring.store import Store, open_store
from mooring.store.channel import Channel, RedisChannel
from mooring.store.mailbox import KEPT_SECONDS, Mailbox, RedisMailbox
from mooring.store.registry import Registry

logger = logging.getLogger("mooring.sessions")


class Mooring:
    """Keeps every MCP request on the node that holds its state.

    Only the MCP endpoints (`mcp_path`, and paths at which the app gives out sessions), what lies below them, requests
    on one of our sessions, the two health paths and, where a `status_token` is set, the status page are touched; all
    else, websockets and lifespan pass through to the app. The node joins its cluster when the app has started, or,
    where the server runs no lifespan, with the first request for readiness, on an endpoint, or one that may be.

    Args:
        app: any ASGI app that serves MCP over Streamable HTTP.
        settings: by default those of the environment and `mooring.toml`.
        store: by default the one that the settings name.

    Raises:
        SettingsError: a setting is wrong or missing, or stands for nothing on this machine.
    """

    def __init__(self, app: App, settings: Settings | None = None, *, store: Store | None = None) -> None:
        if has_mooring(app):
            logger.warning(
                "there is Mooring in this app already, and now around it as well, so that what is kept of a session "
                "goes with its node: let one of them be"
            )
        self.settings = with_tasks_of(app, (settings or Settings.load()).placed())
        self._app = app
        self._given_store = store
        self._close_handlers: list[CloseHandler] = []
        self._revive_handlers: list[ReviveHandler] = []
        self._carrier: tuple[Dump, Load] | None = None
        self._late_joining = LateJoining(self._node_of_this_process)
        self._make_node()

    def _make_node(self) -> None:
        """Nothing of it is for two processes: neither its id, nor its connections."""
        self._made_in = os.getpid()
        self._store = self._given_store or self._open_store()
        is_shared = self._given_store is None and self.settings.redis_url is not None
        is_alone = self._given_store is None and self.settings.redis_url is None
        open_other = self._open_store if is_shared else None
        channel = self._open_channel() if is_shared else None
        open_mailbox = self._open_mailbox if is_shared and self.settings.peer_link != "direct" else None
        self._node = Node(
            self.settings,
            self._store,
            open_other,
            self._answer_peer,
            channel,
            open_mailbox=open_mailbox,
            is_alone=is_alone,
        )
        for handler in self._close_handlers:
            self._node.sessions.add_close_handler(handler)
        for revive_handler in self._revive_handlers:
            self._node.sessions.add_revive_handler(revive_handler)
        if self._carrier is not None:
            self._node.carrying.use(*self._carrier)
        if is_shared:
            self._node.beside.append(Moves(self._node).run)
        if self.settings.drain_on_sigterm and not is_alone:
            self._node.beside.append(self._drain_at_sigterm)
        self._router = Router(self._node, self._app)
        self._plain = PlainCalls(self._node, self._app)
        self._cors = Cors(self._app, self.settings.web_origins, self._is_for_endpoint)
        token = self.settings.status_token
        self._token_pages: dict[str, TokenPage] = {}
        if token is not None:
            self._token_pages[self.settings.status_path] = StatusPage(self._node, token)
            self._token_pages[self.settings.traefik_path] = TraefikPage(self._node, token)

    def _belong_to_this_process(self) -> None:
        """A server may import the app before it forks (`gunicorn --preload`): each worker makes a node of its own."""
        if self._made_in != os.getpid():
            self._make_node()

    def _node_of_this_process(self) -> Node:
        self._belong_to_this_process()
        return self._node

    def _open_store(self) -> Store:
        settings = self.settings
        return open_store(settings.redis_url, settings.key_prefix, settings.redis_timeout_seconds, settings.secrets)

    def _open_channel(self) -> Channel:
        settings = self.settings
        return RedisChannel(settings.redis_url or "", settings.key_prefix, settings.redis_timeout_seconds)

    def _open_mailbox(self, node_id: str) -> Mailbox:
        settings = self.settings
        kept_seconds = settings.lease_seconds + KEPT_SECONDS
        return RedisMailbox(
            settings.redis_url or "",
            settings.key_prefix,
            settings.redis_timeout_seconds,
            node_id,
            kept_seconds=kept_seconds,
        )

    @property
    def node_id(self) -> str:
        """This node's id, `<name>-<5 letters>`; a new one after each restart."""
        return self._node.id

    @property
    def registry(self) -> Registry:
        """What the cluster knows of its nodes and sessions, read from the store at each call."""
        return Registry(self._store)

    def on_close(self, handler: CloseHandler) -> CloseHandler:
        """Call `handler(ClosedSession)` once for each life of a session that ends on this node, and for one that lived
        nowhere when its client ended it. Works as a decorator.

        The handler may be a coroutine function. It is called after the record is gone; what it raises is logged.
        It is not called when the node itself stops: the process ends with all that it holds.
        """
        self._close_handlers.append(handler)
        self._node.sessions.add_close_handler(handler)
        return handler

    def on_revive(self, handler: ReviveHandler) -> ReviveHandler:
        """Call `handler(RevivedSession)` for each session that goes on here after its node died, or after the app had
        ended it. Works as a decorator.

        What the app kept for it in memory is gone: this is where to bring it back. The handler may be a coroutine
        function; the session's requests wait for it. What it raises is logged, and the session goes on.
        """
        self._revive_handlers.append(handler)
        self._node.sessions.add_revive_handler(handler)
        return handler

    def carry(self, dump: Dump, load: Load) -> None:
        """Have what the app keeps of a session in memory go along when its node gives it away: drained or rebalanced.

        Not after a crash: `on_revive` is for that, and is called in any case; `RevivedSession.is_loaded` tells.

        Args:
            dump: called with each `MovingSession` while nothing runs in it; returns bytes, at most `carry_bytes`, or
                None (or b"") for nothing. It changes nothing: the session may stay after all, and is dumped anew when
                it moves.
            load: called with the `RevivedSession` on its new node, and those bytes, before anybody uses the session.
                They may be of another version of the app. Where the revival fails after that, the next one calls it
                again. Both may be coroutine functions, and take `carry_seconds`. What they raise is logged, and the
                session goes on without.
        """
        self._carrier = (dump, load)
        self._node.carrying.use(dump, load)

    async def drain(self) -> None:
        """Before the server stops, and while it still serves: give all sessions to other nodes, so that nothing fails.

        `mooring serve` does this by itself at SIGTERM; see `drain_on_sigterm` for other servers. On return the sessions
        are on other nodes and load balancers have had their time to notice (`drain_seconds`, `ingress_seconds`). Where
        no peer takes them they stay on record, and the streams of clients that only listen have ended.
        """
        await drain_and_end(self._node)

    async def _drain_at_sigterm(self) -> None:
        try:
            with before_sigterm(self.drain) as is_likely:
                if not is_likely:
                    logger.warning(
                        "drain_on_sigterm: this process may never get SIGTERM, since its server hears none and may be "
                        "stopped by its parent in another way, as hypercorn's is: have `await mooring.drain()` called "
                        "before it stops, or run it with uvicorn or `mooring serve`"
                    )
                await asyncio.Event().wait()
        except SettingsError as error:
            logger.warning("%s", error)

    async def has_session(self, session_id: str) -> bool:
        """Whether this session's transport lives in this process.

        For a session that only the store knows this is False, and its owner is logged: the request was misrouted. For
        one that nobody knows it is False, and logged as unknown. One that sleeps here, or that the app has ended, lives
        nowhere, until its next request. The store is asked only where the answer is False.

        Raises:
            StoreUnavailable: the session is not here, and the store does not say whether it is anywhere.
        """
        if self._node.sessions.find(session_id) is not None:
            return True
        if self._node.ids.shard_of(session_id) is None:
            logger.info("asked for a session id that this cluster did not mint")
            return False
        record = await self._store.load_session(session_id)
        if record is None:
            logger.info("session %s is unknown: no node and no record has it", brief(session_id))
        elif record.node_id == self.node_id:
            logger.info("session %s has ended in this process: its next request opens it again", brief(session_id))
        else:
            logger.warning(
                "session %s is misrouted: it lives on node %s, to which Mooring passes on what comes with its id; ask "
                "inside such a request",
                brief(session_id),
                record.node_id,
            )
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._plain.may_be_one(scope) and not self._is_for_one(scope):
                left = await self._plain.serve(scope, receive, send)
                if left is None:
                    return
                receive = left
            await self._handle(scope, receive, send)
        elif scope["type"] == "lifespan":
            self._belong_to_this_process()
            if self._node.is_stopping:  # a lifespan of this app's has ended: a node says goodbye for good
                self._make_node()
            lifespan = Lifespan(self._node, receive, self._looking_for_logins(send), self.drain)
            await lifespan.run(self._app, scope)
        else:
            await self._app(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = self._cors.around(scope, _to_peer(scope, send))
        if scope["method"] == "OPTIONS":
            await self._handle_options(scope, receive, send)
        elif not self._is_for_endpoint(scope):
            await self._handle_elsewhere(scope, receive, send)
        elif self._node.has_joined or await self._late_joining.has_joined(send):
            handle = self._router.handle_for_one_node if self._is_for_one(scope) else self._router.handle
            await handle(scope, receive, send)

    def _looking_for_logins(self, send: Send) -> Send:
        """Say where they are as the app has started: it may have made its routes by then, and not before."""

        async def look_and_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                _ = self._one_node_paths
            await send(message)

        return look_and_send

    async def _handle_options(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A preflight says nothing of a session, and what else has this method is on none."""
        page, is_for_endpoint = self._page_at(scope), self._is_for_endpoint(scope)
        if is_preflight(scope):
            if not (page or is_for_endpoint) or not await self._cors.answer_preflight(scope, send):
                await self._app(scope, receive, send)
        elif page is not None:
            await page(scope, send)
        elif is_for_endpoint:
            await self._router.handle_on_no_session(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _handle_elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = self._page_at(scope)
        if page is not None:
            await page(scope, send)
        elif self._node.has_joined and is_question(scope):
            await answer_question(self._node, self._app, scope, receive, send)
        elif self._is_for_one(scope):
            if await self._late_joining.has_joined(send):
                await self._router.handle_for_one_node(scope, receive, send)
        elif self._node.endpoints.finds and (
            self._node.has_joined or (_may_open(scope) and await self._late_joining.joins())
        ):
            await self._router.handle_elsewhere(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_for_one(self, scope: Scope) -> bool:
        """Whether requests at this path all go to one node."""
        paths = self._one_node_paths
        return bool(paths.known) and (paths.cover(route_of(scope)) or paths.cover(scope["path"]))

    @functools.cached_property
    def _one_node_paths(self) -> OneNodePaths:
        """Asked for first once the app has its routes, when it has started or is called."""
        paths = [path for path in self.settings.bound_paths if path != LOGIN]
        found = login_paths(self._app) if LOGIN in self.settings.bound_paths else ()
        if found:
            logger.info("the app keeps logins: %s go to one node of the cluster (one_node_paths)", " ".join(found))
        return OneNodePaths([*paths, *found])

    def _is_for_endpoint(self, scope: Scope) -> bool:
        """Whether it is for an MCP endpoint, of ours or as a peer saw it that passed it on."""
        if self._node.endpoint_of(scope) is not None:
            return True
        below = off_root(scope) if request_header(scope["headers"], PEER_HEADER) is not None else None
        return below is not None and self._node.endpoint_of(below) is not None

    def _page_at(self, scope: Scope) -> Callable[[Scope, Send], Awaitable[None]] | None:
        """Our own page at this path, if there is one."""
        paths = {route_of(scope), scope["path"]}
        for path in paths & self._token_pages.keys():
            return self._token_pages[path].answer
        if scope["method"] in health.METHODS:
            if self.settings.health_path in paths:
                return functools.partial(health.answer_alive, self._node)
            if self.settings.ready_path in paths:
                return self._answer_ready
        return None

    async def _answer_ready(self, scope: Scope, send: Send) -> None:
        if await self._late_joining.has_joined(send):
            await health.answer_ready(self._node, scope, send)

    async def _answer_peer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What comes by the port for peers or through Redis, past all around Mooring: nothing that no peer signed."""
        if (
            not self._node.has_joined
            or scope["type"] != "http"
            or read_facts(scope["method"], scope["headers"]).peer is None
        ):
            await _refuse_stranger(scope, receive, send)
        elif is_question(scope):
            await answer_question(self._node, _refuse_stranger, scope, receive, send)
        else:
            await self._router.handle(scope, receive, self._cors.around(scope, _to_peer(scope, send)))


def has_mooring(app: object) -> bool:
    """Whether the app is one, or has one in it, as far as can be seen: around it, mounted, or as its middleware."""
    return any(
        isinstance(one, Mooring) or any(getattr(added, "cls", None) is Mooring for added in _middleware_of(one))
        for one in apps_in(app)
    )


def _middleware_of(app: object) -> list[object]:
    """What was added to a Starlette, which puts it around its routes when it is first called."""
    added = getattr(app, "user_middleware", None)
    return added if isinstance(added, list) else []


def _may_open(scope: Scope) -> bool:
    """Whether a request on a path that is not known may open a session there, or be on one: then the node has to have
    joined. What else an app serves needs no node."""
    headers = scope["headers"]
    if request_header(headers, SESSION_HEADER) is not None:
        return True
    accepts = (request_header(headers, b"accept") or b"").lower()
    return posts_json(scope) or (scope["method"] == "GET" and EVENT_STREAM in accepts)


def _to_peer(scope: Scope, send: Send) -> Send:
    """Has a peer tell what is answered here from what the server adds to it, and what is around Mooring."""
    if request_header(scope["headers"], PEER_HEADER) is None:
        return send

    async def send_delimited(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": delimited(message.get("headers", []))}
        await send(message)

    return send_delimited


async def _refuse_stranger(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(send, Reason.SIGNATURE)
