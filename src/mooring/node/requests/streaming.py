"""A GET whose answer may be the stream of an HTTP+SSE session (specification 2024-11-05, Basic / Transports).

The first event of the answer tells, and nothing else of it is touched:

    the answer                                        then
    ------------------------------------------------  --------------------------------------------------------------
    is no event stream                                it is the app's
    is compressed                                     it is left alone, with a warning
    first says `endpoint`, with a session id in its   a session lives here for as long as the stream; the client gets
    query                                             an id of ours in its place
    first says `endpoint`, otherwise                  it is left alone, with a warning
    first says anything else                          it is the app's
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container
from typing import Final
from urllib.parse import unquote

from mooring.asgi import EVENT_STREAM, App, Message, Receive, Scope, Send, header, is_compressed, media_type, route_of
from mooring.core.endpoints import FOUND_AT_MOST, FOUND_LENGTH
from mooring.core.http_sse import EVENT, FirstEvent, PostAddress, read_address, readdressed
from mooring.core.jsonrpc import Asked
from mooring.core.sse import SseEvent
from mooring.core.text import clean
from mooring.node.clock import passing_time
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.passing import PassingAnswer
from mooring.node.requests.answers import last_words
from mooring.node.requests.cutting import CutOff
from mooring.node.requests.principal import principal_of

logger = logging.getLogger("mooring.sessions")

_INSTEAD: Final = (
    "posts of such a session reach whichever node: serve this app over Streamable HTTP, or let the load balancer "
    "bind a client to a node"
)


class StreamPaths:
    """The paths at which the app has opened HTTP+SSE streams, and those of which a warning was given."""

    def __init__(self) -> None:
        # Each at most `FOUND_AT_MOST` long, and the paths no longer than any that is found (`mooring.core.endpoints`).
        self._known: set[str] = set()
        self._warned: set[str] = set()

    def __contains__(self, path: str) -> bool:
        return path in self._known

    def add(self, path: str) -> None:
        if path not in self._known and len(self._known) < FOUND_AT_MOST and len(path) <= FOUND_LENGTH:
            self._known.add(path)
            logger.info("found an HTTP+SSE endpoint at %s", clean(path))

    def warn_once(self, path: str, what: str) -> None:
        if path not in self._warned and len(self._warned) < FOUND_AT_MOST and len(path) <= FOUND_LENGTH:
            self._warned.add(path)
            logger.warning("the event stream at %s %s", clean(path), clean(what))


class StreamingRequest:
    """One such request."""

    def __init__(self, node: Node, paths: StreamPaths, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._paths = paths
        self._scope = scope
        self._receive = receive
        self._send = send
        # Before the app's routers write into the scope.
        self._path = route_of(scope)
        self._root: str = scope.get("root_path") or ""
        self._answer = PassingAnswer()
        # While it is looked for.
        self._first: FirstEvent | None = None
        # From the first event until the stream ends.
        self._session: LocalSession | None = None
        # Where another node owns the session by now.
        self._cut = CutOff()
        self.is_listening = False  # what it answers comes on it, and it cannot be opened again elsewhere
        self.since = time.monotonic()
        self.noted = None  # nor is anything of it on record

    async def serve(self, app: App) -> None:
        try:
            await self._cut.serve(self._serve(app))
        finally:
            if self._session is not None:
                self._session.running.discard(self)
                self._node.session_ended(self._session.id)
        if self._cut.has_come:
            await self._answer.end(self._send, last_words("GET", None))

    async def _serve(self, app: App) -> None:
        await app(self._scope, self._receive, self.send)

    def cut_off(self) -> None:
        self._cut.cut()

    def is_cancelled(self, cancelled: Container[Asked]) -> None:
        """It answers no request."""

    async def send(self, message: Message) -> None:
        if self._session is not None and self._node.keeper.has_lapsed and not await self._node.keeper.regain_in_time():
            self.cut_off()
        if message["type"] == "http.response.start":
            self._look_at(message)
        elif message["type"] == "http.response.body" and self._first is not None:
            message = await self._read(self._first, message)
        if not self._cut.has_come:
            await self._answer.pass_on(message, self._send)

    def _look_at(self, start: Message) -> None:
        headers = start.get("headers", [])
        if start["status"] != 200 or media_type(headers) != EVENT_STREAM:
            return
        if is_compressed(headers):
            self._paths.warn_once(
                self._path,
                "is compressed, and left as it is. If it is an MCP server's (HTTP+SSE), have the app compress no "
                "event streams: else its posts reach whichever node",
            )
        elif header(headers, b"content-length") is None:  # one with a length has its end in sight, and no posts
            self._first = FirstEvent()

    async def _read(self, first: FirstEvent, message: Message) -> Message:
        """The next piece of the body, as far as it may leave."""
        more: bool = message.get("more_body", False)
        leaving = first.feed(message.get("body", b""))
        if first.event is not None:
            leaving = await self._begin(first.event, leaving)
        if first.is_over or not more:
            self._first = None
            leaving += first.let_go()
        return {**message, "body": leaving}

    async def _begin(self, event: SseEvent, held: bytes) -> bytes:
        """The stream begins with this event; returns the bytes that hold it, as the client gets them."""
        if event.event != EVENT:
            return held
        address = read_address(event.data)
        public_id, shard = self._node.mint()
        changed = None if address is None else readdressed(held, event.data, public_id)
        if address is None or changed is None:
            self._paths.warn_once(self._path, f"names an address without a session id in its query; {_INSTEAD}")
        elif not self._sees_posts(address):
            self._paths.warn_once(
                self._path,
                f"has its posts sent to {address.path}, which is not in mcp_path, and find_endpoints is off: name "
                "both in mcp_path, or set find_endpoints",
            )
        elif await self._node.may_open(shard):
            await self._open(address, public_id, shard)
            return changed
        else:
            self.cut_off()
        return held

    def _sees_posts(self, address: PostAddress) -> bool:
        """Whether we see what is posted to that address, on any node."""
        posts = {"path": unquote(address.path), "root_path": self._root}
        return self._node.endpoints.finds or self._node.endpoint_of(posts) is not None

    async def _open(self, address: PostAddress, public_id: str, shard: str) -> None:
        """The session lives here from now on; then its first event may leave."""
        self._paths.add(self._path)
        now = passing_time()
        self._session = LocalSession(
            id=public_id,
            shard=shard,
            inner_id=address.session_id,
            created=now,
            last_seen=now,
            touched=now,
            principal=principal_of(self._scope),
            protocol="",
            client="",
            initialize=b"",
            epoch=self._node.membership.shards.get(shard, 0),
            endpoint=address.path,
            is_in_query=True,
        )
        self._session.running.add(self)
        await self._node.sessions.open(self._session)
