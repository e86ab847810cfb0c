"""Handing requests to the app: those of a session that lives here, and those that open one.

The public session id is the only one that a client ever sees. Where the app has its own name for a session, the
header is rewritten both ways; on an answer that opens nothing it is taken off, since the SDK puts the id of a session
that it has just thrown away on its error answers.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any, Final

from mooring.core.ids import brief
from mooring.core.request import SESSION_HEADER, RequestFacts
from mooring.core.routing import Reason
from mooring.core.sse import SseParser
from mooring.node import inner_ids
from mooring.node.answers import refuse
from mooring.node.asgi import App, HeaderList, Message, Receive, Scope, Send, header, without
from mooring.node.bodies import RememberedBody
from mooring.node.node import Node
from mooring.node.principal import NOBODY, principal_of
from mooring.node.sessions import LocalSession

logger = logging.getLogger("mooring.sessions")

_INITIALIZE_LIMIT_BYTES: Final = 64 * 1024
_RESULT_LIMIT_BYTES: Final = 1024 * 1024
_CLIENT_LIMIT: Final = 200
_DISCONNECT: Final[Message] = {"type": "http.disconnect"}


class SessionRequest:
    """One request on a session that lives here.

    A request of another principal than the one who opened the session is answered as if there were none. Who
    it is shows when the app has authenticated: before it reads the body, so that nothing is carried out, or at the
    latest when its answer starts, so that nothing is told.
    """

    def __init__(
        self, node: Node, session: LocalSession, facts: RequestFacts, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._node = node
        self._session = session
        self._facts = facts
        self._scope = scope
        self._receive = receive
        self._send = send
        self._refused = False
        self._started = False
        self._checked = False

    async def serve(self, app: App) -> None:
        session = self._session
        session.last_seen = time.time()
        if self._facts.method == "DELETE":
            session.ends_as = "deleted"
        if session.is_mapped:
            self._scope = {**self._scope, "headers": _renamed(self._scope["headers"], session.inner_id)}
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            if self._facts.method == "DELETE":
                await self._node.sessions.close(session.id)
            raise
        finally:
            if self._facts.method == "DELETE":
                session.ends_as = "ended"

    async def receive(self) -> Message:
        if not self._checked:
            self._checked = True
            principal = principal_of(self._scope)
            if principal not in (NOBODY, self._session.principal):
                await self._refuse()
        return _DISCONNECT if self._refused else await self._receive()

    async def send(self, message: Message) -> None:
        if self._refused:
            return
        if message["type"] == "http.response.start":
            self._started = True
            message = await self._start(message)
            if self._refused:
                return
        await self._send(message)

    async def _start(self, message: Message) -> Message:
        status: int = message["status"]
        if status < 400 and principal_of(self._scope) != self._session.principal:
            await self._refuse()
            return message
        if self._ends_session(status):
            await self._node.sessions.close(self._session.id)
        if self._session.is_mapped:
            message = {**message, "headers": _renamed(message.get("headers", []), self._session.id)}
        return message

    def _ends_session(self, status: int) -> bool:
        """Whether this answer says that the app has the session no more.

        A DELETE ends it whether or not the app managed to (5xx), but not where it may not (401, 403, 405). A 404 on
        another request does where we cannot see the app's sessions end by themselves.
        """
        if self._facts.method == "DELETE":
            return status < 400 or status == 404 or status >= 500
        return status == 404 and self._session.is_mapped and self._scope["path"] == self._node.settings.mcp_path

    async def _refuse(self) -> None:
        self._refused = True
        self._node.tally.refused[Reason.PRINCIPAL] += 1
        logger.warning("session %s belongs to another principal: answered as unknown", brief(self._session.id))
        await refuse(self._send, Reason.PRINCIPAL)


class OpeningRequest:
    """A request without a session id: `initialize`, or one that the app will refuse.

    The answer is held back until its result has been read and the session's record is written: by the time a client
    knows its session id, every node does.
    """

    def __init__(self, node: Node, scope: Scope, receive: Receive, send: Send) -> None:
        self._node = node
        self._scope = scope
        self._body = RememberedBody(receive, _INITIALIZE_LIMIT_BYTES)
        self._send = send
        self._public_id, self._shard = node.mint()
        self._inner_id = ""
        self._result = _ResultReader()
        self._held: list[Message] = []

    async def serve(self, app: App) -> None:
        inner_ids.on_end(self._public_id, self._node.session_ended)
        try:
            with inner_ids.minting(self._public_id):
                await app(self._scope, self._body.receive, self.send)
        finally:
            if self._held:
                await self._open()
            if self._node.sessions.find(self._public_id) is None:
                inner_ids.forget(self._public_id)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            inner_id = header(message.get("headers", []), SESSION_HEADER)
            if inner_id is None:
                await self._send(message)
            elif message["status"] >= 400:
                await self._send({**message, "headers": without(message["headers"], SESSION_HEADER)})
            else:
                self._inner_id = inner_id.decode("latin-1")
                self._result.expect(header(message["headers"], b"content-type") or b"")
                self._held.append({**message, "headers": _renamed(message["headers"], self._public_id)})
            return
        if not self._held:
            await self._send(message)
            return
        self._held.append(message)
        if self._result.feed(message.get("body", b"")) or not message.get("more_body", False):
            await self._open()

    async def _open(self) -> None:
        """The session lives here from now on; then the answer may leave."""
        now = time.time()
        initialize = self._body.message()
        session = LocalSession(
            id=self._public_id,
            shard=self._shard,
            inner_id=self._inner_id,
            created=now,
            last_seen=now,
            touched=now,
            principal=principal_of(self._scope),
            protocol=self._result.protocol,
            client=_client_of(initialize),
            initialize=self._body.raw(),
        )
        if session.is_mapped:
            inner_ids.forget(session.id)
        await self._node.sessions.open(session)
        held, self._held = self._held, []
        for message in held:
            await self._send(message)


class _ResultReader:
    """Finds the answer to `initialize` in a response that passes by, as JSON or as server-sent events."""

    def __init__(self) -> None:
        self.protocol = ""
        self._events: SseParser | None = None
        self._json = bytearray()

    def expect(self, content_type: bytes) -> None:
        if content_type.partition(b";")[0].strip().lower() == b"text/event-stream":
            self._events = SseParser()

    def feed(self, piece: bytes) -> bool:
        """Whether there is nothing more to wait for: the result was read, or is larger than any should be."""
        if self._events is not None:
            answers = [_answer_in(event.data) for event in self._events.feed(piece)]
            for answer in answers:
                if answer:
                    self._read(answer)
                    return True
            return self._events.pending_bytes > _RESULT_LIMIT_BYTES
        self._json += piece
        answer = _answer_in(self._json)
        if answer:
            self._read(answer)
        return bool(answer) or len(self._json) > _RESULT_LIMIT_BYTES

    def _read(self, answer: dict[str, Any]) -> None:
        result = answer.get("result")
        protocol = result.get("protocolVersion") if isinstance(result, dict) else None
        self.protocol = protocol[:_CLIENT_LIMIT] if isinstance(protocol, str) else ""


def _answer_in(text: str | bytearray) -> dict[str, Any]:
    """The JSON-RPC answer in `text`; empty where it is none, or not whole."""
    try:
        message = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) and ("result" in message or "error" in message) else {}


def _client_of(initialize: dict[str, Any]) -> str:
    """Name and version, as the client says: foreign text, cut to a length."""
    params = initialize.get("params")
    info = params.get("clientInfo") if isinstance(params, dict) else None
    if not isinstance(info, dict):
        return ""
    said = f"{info.get('name', '')} {info.get('version', '')}".strip()
    return "".join(letter for letter in said if letter.isprintable())[:_CLIENT_LIMIT]


def _renamed(headers: HeaderList, session_id: str) -> HeaderList:
    """The headers with this session id; a header that is not there is not put there."""
    return [(name, session_id.encode() if name.lower() == SESSION_HEADER else value) for name, value in headers]
