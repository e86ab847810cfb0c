"""The one stream of a session that answers no request: what its server says by itself.

The node holds its own GET to the app open from the client's first one on, so that nothing is lost while the client is
away: the app drops what it has to say while nobody listens. The client's GETs come and go at the log.

    the client's GET                        gets
    --------------------------------------  ------------------------------------------------------------------------
    the first one                           the app's own answer: its stream, or its refusal
    one while another listens               409, as the app would say; with an id of this stream, it takes its place
    one with an id of this stream           what followed. If the last one broke off, it ends cleanly then, once:
                                            Python's client gives up for good after two that broke off, unless one
                                            ended well. Where the session was given to this node, it did
    any other                               what nobody has heard
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from functools import partial
from typing import Final

from mooring.asgi import EVENT_STREAM, App, HeaderList, Message, Scope, WholeBody, media_type, without
from mooring.core.ids import brief
from mooring.core.request import LAST_EVENT_ID, SESSION_HEADER, RequestFacts
from mooring.core.sse import SseEvent
from mooring.core.stream_ids import Place, StreamFacts, StreamKind
from mooring.errors import StoreUnavailable
from mooring.node.clock import passing_time
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.inner import scope_for
from mooring.node.requests.patience import patiently
from mooring.node.requests.principal import NOBODY
from mooring.node.streams.answer import StreamedAnswer
from mooring.node.streams.stream import Stream
from mooring.store.journal import LogEntry

logger = logging.getLogger("mooring.sessions")

_AGAIN_SECONDS: Final = 0.2
_TRIES: Final = 5
"""How often in a row the app may end its stream as soon as it began."""


class StandingStream:
    """
    Attributes:
        stream: what the server says, once it has begun.
        refusal: what the app answered in its place.
        ends_next: whether the next client that comes back is ended cleanly.
        headers: of the app's answer.
        principal: in whose name the app was asked.
        waiting: how many clients wait for the app's word on whether they may listen.
    """

    def __init__(self, node: Node, session: LocalSession, app: App, scope: Scope) -> None:
        self.stream: Stream | None = None
        self.refusal: list[Message] = []
        self.ends_next = session.incarnation > 0 and not node.membership.was_given(session.shard)
        self.headers: HeaderList = []
        self.principal = NOBODY
        self.waiting = 0
        self._node = node
        self._session = session
        self._app = app
        self._scope = scope_for(scope, session.id, session.protocol, method="GET")
        self._streamed: StreamedAnswer | None = None
        # The last time that the app was asked; it hears of it if nobody listens any more.
        self._request: SessionRequest | None = None
        self._asked = WholeBody(b"")
        # Set once the app has begun its stream, or refused it.
        self._is_known = asyncio.Event()
        self._work: asyncio.Task[None] | None = None
        self._is_closed = False
        # Whether its listener stays when it is closed.
        self._keeps_listener = False

    @property
    def has_listener(self) -> bool:
        """Whether a client listens, or waits for the app's word on whether it may."""
        return self.waiting > 0 or (self.stream is not None and self.stream.has_listener)

    async def is_there(self) -> bool:
        """Whether the app has a stream for it, once that is known."""
        await self._is_known.wait()
        return self.stream is not None

    async def lets_in(self, *, opens: bool = False) -> bool:
        """The same for a client that waits for it.

        Args:
            opens: nobody has asked the app yet.
        """
        self.waiting += 1
        try:
            return await (self.open() if opens else self.is_there())
        finally:
            self.waiting -= 1

    async def open(self) -> bool:
        """Ask the app for its stream, and go on holding it; returns whether there is one."""
        self._work = asyncio.create_task(self._hold())
        self._work.add_done_callback(lambda _: self._is_known.set())  # it may be closed before it begins
        self._node.sessions.keep_working(self._work)
        await self._is_known.wait()
        if self.stream is None:
            await asyncio.wait({self._work})
        return self.stream is not None

    async def warn(self, text: str) -> None:
        """Tell the client something in the server's place, as a message of its log, once there is a stream."""
        if await self.is_there() and self.stream is not None:
            params = {"level": "warning", "logger": "mooring", "data": text}
            message = {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
            await self.stream.say(SseEvent(json.dumps(message), event="message"))

    def close(self) -> None:
        """The session is gone from here."""
        self._is_closed = True
        self._asked.leave()
        if self._work is not None:
            self._work.cancel()

    def let_go(self) -> None:
        """The session goes to sleep: the app is asked no more, and whoever listens goes on waiting."""
        self._keeps_listener = True
        self.close()

    async def _hold(self) -> None:
        last_inner_id, quick = "", 0
        loop = asyncio.get_running_loop()
        try:
            while quick < _TRIES and not self._is_closed:
                began = loop.time()
                await self._ask(last_inner_id)
                if self.stream is None or self._streamed is None:
                    break
                last_inner_id = self._streamed.last_inner_id
                if self._is_closed:
                    break
                await self.stream.dismiss()  # the app ended it, so its client hears that, and comes back
                quick = quick + 1 if loop.time() - began < _AGAIN_SECONDS else 0
                await asyncio.sleep(_AGAIN_SECONDS)
        except Exception:
            logger.exception("the app failed to tell session %s what it says by itself", brief(self._session.id))
        finally:
            self._is_known.set()
            self._session.standing = None if self._session.standing is self else self._session.standing
            if self.stream is not None and not self._keeps_listener:
                await self.stream.dismiss()

    async def _ask(self, last_inner_id: str) -> None:
        scope = self._scope
        if last_inner_id:
            scope = {**scope, "headers": [*scope["headers"], (LAST_EVENT_ID, last_inner_id.encode())]}
        facts = RequestFacts(method="GET", session_id=self._session.id)
        self._streamed = None
        self._asked = WholeBody(b"")
        self._request = SessionRequest(
            self._node, self._session, facts, {**scope}, self._asked.receive, self._take, is_named=True
        )
        await self._request.serve(self._app)
        self._request = None  # each holds the other

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._begins(message):
            self.headers = without(message.get("headers", []), b"date", b"server", SESSION_HEADER)
            if self._request is not None:
                self.principal = self._request.principal
            session = self._session
            self.stream, is_new = await self._found()
            retry = self._node.settings.retry_milliseconds
            self._streamed = StreamedAnswer(self.stream, session.protocol, retry, session.incarnation)
            if is_new:
                await self._streamed.begin()
            session.has_stream = True
            self._is_known.set()
        elif self._streamed is not None and message["type"] == "http.response.body":
            await self._streamed.feed(message.get("body", b""))
        elif self.stream is None:
            self.refusal.append(message)

    async def _found(self) -> tuple[Stream, bool]:
        """The session's stream as it is known here or on record, and whether it begins now."""
        memory, session = self._node.streams, self._session
        stream_id, facts = memory.ids.standing(session.id), StreamFacts(StreamKind.STANDING, 0)
        stream = memory.find(session.id, stream_id)
        if stream is not None:
            memory.wake(stream)
            stream.epoch = session.epoch
            return stream, False
        if not session.incarnation:
            return memory.open(session.id, facts, session.epoch), True
        entries: list[LogEntry] = []
        with contextlib.suppress(StoreUnavailable):
            read = partial(self._node.store.journal.read, session.id, stream_id)
            entries = await patiently(self._node, read)
        stream = memory.restored(session.id, stream_id, facts, session.epoch, entries)
        if not entries:  # whatever was said, it is lost: also at this epoch, where the session ended on this very node
            stream.log.skip_to(Place(session.epoch, round(passing_time() * 1000)))
        return stream, not entries

    def _begins(self, start: Message) -> bool:
        return start["status"] == 200 and media_type(start.get("headers", [])) == EVENT_STREAM
