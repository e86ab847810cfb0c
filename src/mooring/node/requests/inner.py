"""Requests that Mooring itself sends to the app: nobody else sees their answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from mooring.asgi import EVENT_STREAM, App, HeaderList, Message, Scope, WholeBody, header, media_type, without
from mooring.core import jsonrpc
from mooring.core.answer_reader import AnswerReader
from mooring.core.request import LAST_EVENT_ID, SESSION_HEADER, VERSION_HEADER
from mooring.processes.tasks import end

logger = logging.getLogger("mooring.sessions")

_OF_ONE_REQUEST: Final = (
    SESSION_HEADER,
    VERSION_HEADER,
    b"accept",
    b"accept-encoding",  # the answer is read here
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    LAST_EVENT_ID,
    b"transfer-encoding",
)
"""What a request says of itself alone, and not of who sends it."""

_REST_SECONDS: Final = 1.0
"""For what the app does after it answered."""


@dataclass(slots=True)
class InnerAnswer:
    """What the app answered, as far as it was read.

    Attributes:
        status: 0 where it answered nothing.
        message: the JSON-RPC answer; None where there was none.
        body: of an answer that has none, up to `mooring.core.answer_reader.LIMIT_BYTES`.
    """

    status: int = 0
    headers: HeaderList = field(default_factory=list)
    message: jsonrpc.Message | None = None
    body: bytearray = field(default_factory=bytearray)

    @property
    def session_id(self) -> str | None:
        """The session that it names."""
        named = header(self.headers, SESSION_HEADER)
        return None if named is None else named.decode("latin-1")

    @property
    def is_good(self) -> bool:
        """Whether the app did what it was asked."""
        return 200 <= self.status < 300 and "error" not in (self.message or {})


def scope_for(like: Scope, session_id: str | None = None, protocol: str = "", *, method: str = "POST") -> Scope:
    """The scope of a request in the name of whoever sent `like`, to the same path, and as if they alone had asked.

    Args:
        session_id: by which the app knows the session, if it is on one.
        protocol: the revision that was agreed on.
    """
    headers = without(like["headers"], *_OF_ONE_REQUEST)
    headers.append((b"accept", b"application/json, text/event-stream" if method == "POST" else b"text/event-stream"))
    if method == "POST":
        headers.append((b"content-type", b"application/json"))
    if session_id is not None:
        headers.append((SESSION_HEADER, session_id.encode("latin-1")))
        if protocol:
            headers.append((VERSION_HEADER, protocol.encode("latin-1", "replace")))
    return {**like, "method": method, "headers": headers}


async def ask(
    app: App,
    scope: Scope,
    body: bytes,
    keep: Callable[[asyncio.Task[None]], None],
    *,
    when_begun: Callable[[Scope], None] = lambda _: None,
) -> InnerAnswer:
    """Send the app one message and read its answer, as JSON or from an event stream, which is left then.

    What the app has to do after it answered gets a moment, since an SDK takes in a notification only then. It goes on
    beside us if it takes longer, as tasks do that run in the background: a client would have its answer by then, too.

    Args:
        scope: as `scope_for` makes it.
        keep: called with the work that goes on.
        when_begun: called with the scope when the answer begins: the app has authenticated by then.
    """
    scope = {**scope, "headers": [*scope["headers"], (b"content-length", b"%d" % len(body))]}
    asked = _Asked(scope, body, when_begun)
    work = asyncio.create_task(asked.carry_out(app))
    keep(work)
    try:
        await asyncio.wait({work, asked.is_answered}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({work}, timeout=_REST_SECONDS)
    except asyncio.CancelledError:
        await end(work)
        raise
    return asked.answer


async def hear(app: App, scope: Scope, feed: Callable[[bytes], Awaitable[None]], is_enough: Callable[[], bool]) -> None:
    """Listen to an event stream of the app's to its end, or as long as it takes; nothing is heard where it is none."""
    is_stream = False
    body = WholeBody(b"")

    async def send(message: Message) -> None:
        nonlocal is_stream
        if message["type"] == "http.response.start":
            is_stream = message["status"] == 200
        elif message["type"] == "http.response.body" and is_stream:
            await feed(message.get("body", b""))
            if is_enough():
                body.leave()

    await app(scope, body.receive, send)


class _Asked:
    """One such request, as the app sees it."""

    def __init__(self, scope: Scope, body: bytes, when_begun: Callable[[Scope], None]) -> None:
        self.answer = InnerAnswer()
        self._scope = scope
        self._body = WholeBody(body)
        self.receive = self._body.receive
        self._when_begun = when_begun
        self._reader = AnswerReader(in_events=False)
        self._is_over = False
        self.is_answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def carry_out(self, app: App) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except Exception:
            logger.exception("the app failed at a request that Mooring sent it")
            self.answer.message = None
            self.answer.status = 500

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = list(message.get("headers", []))
            self._reader = AnswerReader(in_events=media_type(self.answer.headers) == EVENT_STREAM)
            self._when_begun(self._scope)
        elif message["type"] == "http.response.body" and not self._is_over:
            is_read = self._reader.feed(message.get("body", b""))
            self.answer.message, self.answer.body = self._reader.message, self._reader.body
            if is_read or not message.get("more_body", False):
                self._is_over = True
                self._body.leave()
                self.is_answered.set_result(None)
