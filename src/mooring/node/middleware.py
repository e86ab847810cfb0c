"""`Mooring`: the plain ASGI middleware around any MCP app."""

from __future__ import annotations

import asyncio
import logging

from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.core.ids import brief
from mooring.core.model import NodeState
from mooring.errors import MooringError
from mooring.node.membership.sessions import CloseHandler
from mooring.node.node import Node
from mooring.node.pages.status import StatusPage
from mooring.node.requests.answers import respond
from mooring.node.requests.router import Router
from mooring.settings import Settings
from mooring.store import Store, open_store
from mooring.store.registry import Registry

logger = logging.getLogger("mooring.sessions")


class Mooring:
    """Keeps every MCP request on the node that holds its state.

    Only the MCP path (`mcp_path` and what lies below it), the two health paths and, where a `status_token` is set, the
    status page are touched; other paths, websockets and lifespan pass through to the app. The node joins its cluster
    when the app has started, or, where the server runs no lifespan, with the first request on the MCP path or for
    readiness.

    Args:
        app: any ASGI app that serves MCP over Streamable HTTP.
        settings: by default those of the environment and `mooring.toml`.
        store: by default the one that the settings name.

    Raises:
        SettingsError: a setting is wrong or missing.
    """

    def __init__(self, app: App, settings: Settings | None = None, *, store: Store | None = None) -> None:
        self.settings = settings or Settings.load()
        self._app = app
        self._store = store or open_store(
            self.settings.redis_url, self.settings.key_prefix, self.settings.redis_timeout_seconds
        )
        self._node = Node(self.settings, self._store)
        self._router = Router(self._node, app)
        self._mcp_path = self.settings.mcp_path
        self._below_mcp_path = self.settings.mcp_path + "/"
        token = self.settings.status_token
        self._status_page = None if token is None else StatusPage(self._node, token)
        self._starting = asyncio.Lock()

    @property
    def node_id(self) -> str:
        """This node's id, `<name>-<5 letters>`; another one after each restart."""
        return self._node.id

    @property
    def registry(self) -> Registry:
        """What the cluster knows of its nodes and sessions, read from the store at each call."""
        return Registry(self._store)

    def on_close(self, handler: CloseHandler) -> CloseHandler:
        """Call `handler(ClosedSession)` once for each session that ends on this node. Works as a decorator.

        The handler may be a coroutine function. It is called after the record is gone; what it raises is logged.
        At the node's own stop it is not called: the process ends with all that it holds.
        """
        self._node.sessions.add_close_handler(handler)
        return handler

    async def has_session(self, session_id: str) -> bool:
        """Whether this session's transport lives in this process.

        One that only the store knows answers False and is logged with its owner: the request was misrouted. One that
        nobody knows answers False and is logged as unknown. The store is asked only where the answer is False.

        Raises:
            StoreUnavailable: the session is not here, and the store does not say whether it is anywhere.
        """
        if self._node.sessions.find(session_id) is not None:
            return True
        if self._node.ids.shard_of(session_id) is None:
            logger.info("asked for a session id that this cluster has not minted")
            return False
        record = await self._store.load_session(session_id)
        if record is None:
            logger.info("session %s is unknown: no node and no record has it", brief(session_id))
        else:
            logger.warning("session %s is misrouted: it lives on node %s", brief(session_id), record.node_id)
        return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            if path == self._mcp_path or path.startswith(self._below_mcp_path):
                if self._node.membership.state is NodeState.STARTING and not await self._start_late(send):
                    return
                await self._router.handle(scope, receive, send)
                return
            if path in (self.settings.health_path, self.settings.ready_path) and scope["method"] in ("GET", "HEAD"):
                await self._answer_health(path, scope["method"], send)
                return
            if self._status_page is not None and path == self.settings.status_path:
                await self._status_page.answer(scope, send)
                return
        elif scope["type"] == "lifespan":
            await _Lifespan(self._node, receive, send).run(self._app, scope)
            return
        await self._app(scope, receive, send)

    async def _start_late(self, send: Send) -> bool:
        """Join the cluster with the first request, where the server runs no lifespan; answers whether that worked."""
        async with self._starting:
            try:
                if self._node.membership.state is NodeState.STARTING:
                    await self._node.start()
            except MooringError as error:
                logger.error("the node cannot start: %s", error)
                await respond(send, 503, b"The node cannot start; its log says why.\n")
                return False
        return True

    async def _answer_health(self, path: str, method: str, send: Send) -> None:
        """`/healthz`: alive. `/readyz`: takes new sessions, or why not."""
        status, text = 200, "alive"
        if path == self.settings.ready_path:
            if self._node.membership.state is NodeState.STARTING and not await self._start_late(send):
                return
            status, text = self._readiness()
        await respond(send, status, f"{text}\n".encode(), method=method)

    def _readiness(self) -> tuple[int, str]:
        membership = self._node.membership
        if membership.state is NodeState.DEGRADED:
            return 200, f"degraded: {membership.why_degraded}"
        if membership.state is not NodeState.READY:
            return 503, str(membership.state)
        if not self._node.takes_new_sessions:
            return 503, f"full: {len(self._node.sessions)} sessions, capacity {self.settings.capacity}"
        return 200, "ready"


class _Lifespan:
    """The app's lifespan, with the node's inside it: it joins once the app has started, leaves before the app stops."""

    def __init__(self, node: Node, receive: Receive, send: Send) -> None:
        self._node = node
        self._receive = receive
        self._send = send
        self._was_asked = False
        self._has_answered = False

    async def run(self, app: App, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception as error:
            if self._has_answered:
                raise
            logger.warning("the app runs no lifespan and is served without: %s: %s", type(error).__name__, error)
        if not self._has_answered:
            await self._run_without_app()

    async def _run_without_app(self) -> None:
        """The node's lifespan alone, where the app has none (ASGI, Lifespan Protocol: such an app is served on)."""
        if not self._was_asked:
            await self.receive()
        await self.send({"type": "lifespan.startup.complete"})
        while (await self.receive())["type"] != "lifespan.shutdown":
            pass
        await self.send({"type": "lifespan.shutdown.complete"})

    async def receive(self) -> Message:
        message = await self._receive()
        self._was_asked = True
        if message["type"] == "lifespan.shutdown":
            await self._node.stop()
        return message

    async def send(self, message: Message) -> None:
        self._has_answered = True
        if message["type"] == "lifespan.startup.complete":
            try:
                await self._node.start()
            except MooringError as error:
                await self._send({"type": "lifespan.startup.failed", "message": str(error)})
                return
        await self._send(message)
