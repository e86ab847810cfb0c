"""A request that may open a session, on its way to the app and back.

The app's session id is removed from an answer that opens no session: the SDK puts the id of a session that it has
already thrown away on its error answers.
"""

from __future__ import annotations

import functools
import logging
from contextlib import ExitStack
from typing import Final

from mooring.asgi import (
    EVENT_STREAM,
    App,
    Message,
    Receive,
    Scope,
    Send,
    header,
    media_type,
    replaced,
    route_of,
    without,
)
from mooring.core import jsonrpc
from mooring.core.answer_reader import AnswerReader
from mooring.core.ids import brief
from mooring.core.kept_state import KeptState
from mooring.core.request import SESSION_HEADER
from mooring.core.routing import Reason
from mooring.core.unread_json import PassingSearch
from mooring.node.clock import passing_time
from mooring.node.current import Serving
from mooring.node.membership import inner_ids
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.admission import guard_of
from mooring.node.requests.answers import refuse
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.ending import end_in_app
from mooring.node.requests.guarding import GuardedCall
from mooring.node.requests.handle_answers import refuse_handle
from mooring.node.requests.principal import principal_of

_INITIALIZE_LIMIT_BYTES: Final = 1024 * 1024
"""A larger one is not kept, so that its session cannot be opened again on another node."""
_TEXT_LENGTH: Final = 200

logger = logging.getLogger("mooring.sessions")


class OpeningRequest:
    """A request without a session id: `initialize`, or what nobody can read.

    The answer is held back until its result has been read and the session's record is written: by the time a client
    knows its session id, every node does.
    """

    def __init__(self, node: Node, app: App, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._app = app
        self._scope = scope
        # Before the app has it: routers write into the scope what they have made of the path.
        self._endpoint, self._route, self._as_it_came = node.endpoint_of(scope), route_of(scope), {**scope}
        self._body = RememberedBody(receive, _INITIALIZE_LIMIT_BYTES)
        self._send = send
        self._public_id, self._shard = node.mint()
        self._inner_id = ""
        # Who the SDK found to ask, where it is one that asks us before it serves.
        self._principal: str | None = None
        self._result = AnswerReader(in_events=False)
        # Whether a session may still come of it.
        self._arrival = ExitStack()
        self._held: list[Message] = []
        # Whether the app's answer is dropped, since we have given one in its place.
        self._is_refused = False

    async def serve(self) -> None:
        inner_ids.on_end(self._public_id, self._node.session_ended)
        inner_ids.guard(self._public_id, self._note_principal)
        with self._arrival:
            self._arrival.enter_context(self._node.arrivals.one_in(self._shard))
            try:
                with inner_ids.minting(self._public_id), Serving(self._node, self._scope, self._public_id):
                    await self._serve_guarded()
            finally:
                if self._held:
                    await self._open()
                if self._node.sessions.find(self._public_id) is None:
                    inner_ids.forget(self._public_id)

    async def _serve_guarded(self) -> None:
        """A server without sessions carries calls out, too: it gets no whole body that has another's handle in it."""
        guarded = GuardedCall(
            self._node, [], self._scope, self._body.receive, self.send, lambda _: True, PassingSearch()
        )
        await guarded.serve(self._app)
        if guarded.refused is not None:
            scope, message = self._as_it_came, self._body.message()
            await refuse_handle(self._send, scope, Reason.PRINCIPAL, message, guarded.refused.text)

    async def _note_principal(self, scope: Scope, send: Send) -> bool:
        self._principal = principal_of(scope)
        return True

    async def send(self, message: Message) -> None:
        if self._is_refused:
            return
        if message["type"] == "http.response.start":
            inner_id = header(message.get("headers", []), SESSION_HEADER)
            if inner_id is None:
                self._arrival.close()  # it opens nothing
                await self._send(message)
            elif message["status"] >= 400:
                await self._send({**message, "headers": without(message["headers"], SESSION_HEADER)})
            else:
                self._inner_id = inner_id.decode("latin-1")
                self._result = AnswerReader(in_events=media_type(message["headers"]) == EVENT_STREAM)
                self._held.append(
                    {**message, "headers": replaced(message["headers"], SESSION_HEADER, self._public_id.encode())}
                )
            return
        if not self._held:
            await self._send(message)
            return
        self._held.append(message)
        if self._result.feed(message.get("body", b"")) or not message.get("more_body", False):
            await self._open()

    async def _open(self) -> None:
        """The session lives here from now on; then the answer may leave."""
        if not await self._node.may_open(self._shard):
            await self._refuse()
            return
        now = passing_time()
        initialize = self._body.message()
        session = LocalSession(
            id=self._public_id,
            shard=self._shard,
            inner_id=self._inner_id,
            created=now,
            last_seen=now,
            touched=now,
            principal=principal_of(self._scope),
            protocol=protocol_of(self._result.message),
            client=_client_of(initialize),
            initialize=self._body.raw(),
            epoch=self._node.membership.shards.get(self._shard, 0),
            endpoint=self._endpoint or self._node.found_endpoint(self._route),
            state=KeptState(most_bytes=self._node.settings.state_bytes),
        )
        if not session.initialize:
            logger.warning(
                "session %s opened with an initialize of more than %d bytes: it ends with this node; let its client "
                "send less",
                brief(session.id),
                _INITIALIZE_LIMIT_BYTES,
            )
        move_in(self._node, self._app, session, self._as_it_came, self._principal)
        await self._node.sessions.open(session)
        held, self._held = self._held, []
        for message in held:
            await self._send(message)

    async def _refuse(self) -> None:
        self._held, self._is_refused = [], True
        if not await inner_ids.end(self._public_id):
            await end_in_app(self._app, self._as_it_came, self._inner_id)
        await refuse(self._send, Reason.UNREACHABLE, request_id=jsonrpc.id_of(self._body.message()))


def move_in(node: Node, app: App, session: LocalSession, asked: Scope, principal: str | None) -> None:
    """Tie a session to the app's own that was just opened for it: who may use it, and how it is ended.

    Args:
        asked: the scope of the request that opened it, as it came.
        principal: who the SDK found to ask; None where it is not one that asks us.
    """
    if session.is_mapped:
        inner_ids.forget(session.id)
    else:
        inner_ids.guard(session.id, guard_of(node, session))
        if principal is not None:
            session.principal, session.is_guarded = principal, True
    if not session.is_guarded:
        session.end_in_app = functools.partial(end_in_app, app, asked, session.inner_id)


def protocol_of(result: jsonrpc.Message | None) -> str:
    """The revision that the answer to `initialize` settles on, "" where it does not say: the app's text, cut."""
    return jsonrpc.text_in(result, "result", "protocolVersion")[:_TEXT_LENGTH]


def _client_of(initialize: jsonrpc.Message) -> str:
    """Name and version, as the client says: foreign text, cut to a length."""
    name, version = (jsonrpc.text_in(initialize, "params", "clientInfo", key) for key in ("name", "version"))
    said = f"{name} {version}".strip()
    return "".join(letter for letter in said if letter.isprintable())[:_TEXT_LENGTH]
