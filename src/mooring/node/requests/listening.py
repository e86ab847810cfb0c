"""A GET on a session that lives here: a client that listens, or comes back for what it missed.

    it names (`Last-Event-ID`)            and gets
    ------------------------------------  ------------------------------------------------------------------
    nothing, or nothing of this session   what the server says by itself (`mooring.node.requests.standing`)
    an event of that stream               the same, from there on
    an event of a request's stream        what followed on that stream alone, and its end; 405 where nothing did, nor
                                          will. TypeScript's clients ask for more after an answer that is an error
    one of a stream that is not known     what became of its request, as far as anybody can know

Only the session's principal gets any of it; the app is asked who it is that asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from mooring.asgi import App, HeaderList, Receive, Scope, Send, request_header, respond
from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.request import LAST_EVENT_ID, SESSION_HEADER
from mooring.core.routing import Reason
from mooring.core.stream_ids import Place, StreamFacts, StreamKind, read_event_id
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.clock import passing_time
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.passing import PassingAnswer
from mooring.node.requests.admission import admit, note_refusal
from mooring.node.requests.answers import refuse
from mooring.node.requests.identifying import UnidentifiedRequest
from mooring.node.requests.patience import patiently
from mooring.node.requests.settling import Settlement
from mooring.node.requests.standing import StandingStream
from mooring.node.streams.answer import nothing_for
from mooring.node.streams.listener import Listener
from mooring.node.streams.stream import Stream
from mooring.processes.tasks import end

logger = logging.getLogger("mooring.sessions")

_CONFLICT: Final = "Conflict: Only one SSE stream is allowed per session"
_HEARD: Final = "All of that stream was heard: its request is answered, and nothing more is said on it"
_HEADERS: Final[HeaderList] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class ListeningRequest:
    """One such request."""

    def __init__(self, node: Node, session: LocalSession, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._session = session
        self._scope = scope
        self._receive = receive
        self._send = send
        # Whose the session was when it was let in.
        self._principal = session.principal

    async def serve(self, app: App) -> bool:
        """Returns whether it was answered: not where the app has dropped the session by itself."""
        if self._node.listeners.come_elsewhere:
            await refuse(self._send, Reason.UNREACHABLE, method="GET", headers=self._scope["headers"])
            return True
        named = self._named()
        if named is None or named[2].kind is StreamKind.STANDING:
            return await self._listen_to_server(app, None if named is None else named[1])
        if await self._is_admitted(app):
            stream_id, place, facts = named
            stream = self._node.streams.find(self._session.id, stream_id)
            if stream is None:
                settlement = Settlement(self._node, self._session, app, self._scope, stream_id, place, facts)
                try:
                    stream = await patiently(self._node, settlement.settle)
                except (StoreUnavailable, Fenced) as error:
                    logger.warning("a stream of session %s is not settled yet: %s", brief(self._session.id), error)
                    await refuse(self._send, Reason.UNREACHABLE, method="GET", headers=self._scope["headers"])
                    return True
            if stream.is_heard_to_its_end(place):
                said = jsonrpc.error_answer(None, jsonrpc.INVALID_REQUEST, _HEARD, {})
                await respond(self._send, 405, said, b"application/json", [(b"allow", b"POST, DELETE")])
            else:
                await self._listen(stream, place, _HEADERS)
        return True

    def _named(self) -> tuple[str, Place, StreamFacts] | None:
        """The event that it names, if it is one of this session."""
        said = request_header(self._scope["headers"], LAST_EVENT_ID)
        named = None if said is None else read_event_id(said.decode("latin-1").strip())
        facts = None if named is None else self._node.streams.ids.read(self._session.id, named[0])
        if named is None or facts is None or named[1].epoch > self._session.epoch:  # the place is not signed
            return None
        return (*named, facts)

    async def _is_admitted(self, app: App) -> bool:
        """Whether it may use the session; where it may not, it is answered."""
        session = self._session
        inner_id = session.inner_id if session.is_guarded else None
        who = await UnidentifiedRequest(self._scope, self._send, session.principal, inner_id).find_out(app)
        if who is not None and not await admit(self._node, session, who):
            note_refusal(self._node, session.id)
            await refuse(self._send, Reason.PRINCIPAL)
            return False
        self._principal = session.principal
        return who is not None

    async def _listen_to_server(self, app: App, place: Place | None) -> bool:
        standing: StandingStream | None = self._session.standing
        while standing is not None and not await standing.lets_in():
            standing = self._session.standing
        if standing is None:
            # The app says who may have it, and whether there is one.
            standing = self._session.standing = StandingStream(self._node, self._session, app, self._scope)
            if not await standing.lets_in(opens=True):
                for message in standing.refusal:
                    await self._send(message)
                return bool(standing.refusal)
            self._principal = standing.principal
            await self._node.sessions.records.write(self._session)
        elif not await self._is_admitted(app):
            return True
        if standing.stream is None:
            return False
        if place is None and standing.stream.has_listener:
            await respond(
                self._send, 409, jsonrpc.error_answer(None, jsonrpc.INVALID_REQUEST, _CONFLICT, {}), b"application/json"
            )
            return True
        ends_soon, standing.ends_next = standing.ends_next and place is not None, False
        left = await self._listen(standing.stream, place, standing.headers, ends_soon=ends_soon)
        if left and self._node.sessions.find(self._session.id) is None:
            self._node.streams.rest(self._session.id)  # it sleeps, and nobody listens any more
        standing.ends_next = standing.ends_next or left
        return True

    async def _listen(
        self, stream: Stream, place: Place | None, headers: HeaderList, *, ends_soon: bool = False
    ) -> bool:
        """Until the stream ends, another client takes its place, or this one leaves; returns whether it left."""
        listener = Listener(PassingAnswer(), self._send)
        named = [*headers, (SESSION_HEADER, self._session.id.encode())]
        await listener.begin({"type": "http.response.start", "status": 200, "headers": named})
        retry = self._node.settings.retry_milliseconds
        if self._may_hear(stream):
            try:
                await stream.listen(listener, place, nothing_for(self._session.protocol, retry))
            except BaseException:  # some servers cancel the request of a client that leaves
                listener.leave()
                raise
        is_last = stream.facts.kind is StreamKind.STANDING and self._node.listeners.come_elsewhere
        if ends_soon or is_last or not self._may_hear(stream):
            await listener.end()
        return await self._attend(listener)

    def _may_hear(self, stream: Stream) -> bool:
        """Whether nothing has happened, since it was let in, that keeps it from what is said."""
        if self._node.sessions.find(self._session.id) is not self._session:
            return False
        is_nobodys = self._session.principal != self._principal  # and the session is somebody's by now
        return stream.facts.kind is not StreamKind.STANDING or not is_nobodys

    async def _attend(self, listener: Listener) -> bool:
        leaving = asyncio.ensure_future(self._leaves())
        gone = asyncio.ensure_future(listener.gone.wait())
        try:
            await asyncio.wait({leaving, gone}, return_when=asyncio.FIRST_COMPLETED)
            return not listener.is_gone
        finally:
            listener.leave()
            self._session.last_seen = passing_time()  # it was used until now
            await end(leaving, gone)

    async def _leaves(self) -> None:
        with contextlib.suppress(OSError):
            while (await self._receive())["type"] != "http.disconnect":
                pass
