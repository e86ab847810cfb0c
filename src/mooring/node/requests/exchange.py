"""A request and the event stream that answers it: what its client can come back to (`mooring.node.streams`).

The app's stream goes into a log, and from there to whoever listens: first the client that sent the request. The app
goes on when that one leaves.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from mooring.asgi import App, Message, Scope, Send, is_open_event_stream
from mooring.core import jsonrpc, sse
from mooring.core.request import LAST_EVENT_ID
from mooring.core.stream_ids import StreamFacts, kind_of
from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.passing import PassingAnswer
from mooring.node.requests.answers import outcome_unknown
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.call_names import CallName
from mooring.node.requests.inner import hear, scope_for
from mooring.node.streams.answer import StreamedAnswer
from mooring.node.streams.listener import Listener
from mooring.node.streams.stream import Stream
from mooring.store.journal import Call

logger = logging.getLogger("mooring.sessions")

_NAME_LENGTH: Final = 200
_BODY_BYTES: Final = 64 * 1024
"""A larger request is not carried out again by the next owner."""
_LAST_WORDS_SECONDS: Final = 5.0
"""What an app may still say on a stream once it has answered there, though its client has left."""
_TRIES_IN_VAIN: Final = 3
"""An app that says nothing so often in a row, not even an id, knows nothing more of the request."""
_AGAIN_SECONDS: Final = 0.2


class Exchange:
    """
    Args:
        body: the request.
        name: what it is called on record.
        settle: asked with its answer, and its stream, before that is said: see `StreamedAnswer`.
        onto: the stream of a request that is carried out again: whoever listens is there, or comes by itself.
    """

    def __init__(
        self,
        node: Node,
        session: LocalSession,
        body: RememberedBody,
        name: CallName,
        answer: PassingAnswer,
        send: Send,
        settle: Callable[[str, str], Awaitable[str | None]],
        onto: Stream | None = None,
    ) -> None:
        self._node = node
        self._body = body
        self._name = name
        self._settle = settle
        # What the call is called on record, and its stream if there is one, where it was noted before it was carried
        # out, or may have been; and whether by an earlier incarnation.
        self._noted_as = "" if onto is None else onto.id
        self._is_again = onto is not None
        # What was noted of it, until it is over.
        self.noted: Call | None = None
        self._session = session
        self._answer = answer
        self._send = send
        self._stream = onto
        # What ends the client's connection, where it takes nothing any more; set by whoever has it.
        self.on_stall: Callable[[], None] = lambda: None
        # Once the app has begun its stream; and, until it is over, the one who listens first.
        self._streamed: StreamedAnswer | None = None
        self._listener: Listener | None = None
        # Set once nothing is to come that a client would come back for: the app may hear that it has left.
        self.has_nothing_to_come = asyncio.Event()
        # What sets it, where the app has answered and goes on; and an earlier request under the same id, while this
        # one runs.
        self._last_words: asyncio.TimerHandle | None = None
        self._namesake: Exchange | None = None

    @property
    def is_streaming(self) -> bool:
        """Whether the app has begun an event stream, and has not ended it."""
        return self._streamed is not None

    @property
    def stream_id(self) -> str:
        """That of the request's stream, as far as there is one; else ""."""
        return self._noted_as if self._stream is None else self._stream.id

    def is_again(self, name: str) -> None:
        """The request is carried out again, and on record under that name."""
        self._noted_as, self._is_again = name, True

    async def note_ahead(self) -> str:
        """Have the request on record before it is carried out; returns its name there, "" where it has none.

        Then its node's death leaves nothing of it but what is on record, and it may be carried out again. Whoever sends
        it again finds it by its name, whether or not a stream was begun.

        A store that does not answer may have it on record all the same: so what the request changes is kept under that
        name in any case, and is then not carried out again.
        """
        session = self._session
        if self._noted_as or self._body.size > _BODY_BYTES:
            return self._noted_as
        self._noted_as = self._name.take() or self._node.streams.mint(session.id, self._facts())
        call = self.noted = replace(noted(self._noted_as, self._body, time.time()), is_transactional=True)
        seconds = self._node.settings.call_log_seconds
        try:
            await self._node.store.journal.note_calls(session.id, session.epoch, [call], seconds)
        except StoreUnavailable as error:
            self._node.keeper.running_calls.are_due()
            logger.info("a call is carried out, and may not be on record yet: %s", error)
        return self._noted_as

    async def begin(self, start: Message) -> None:
        """The app begins its answer."""
        session = self._session
        retry = self._node.settings.retry_milliseconds
        if self._stream is not None:
            self._streamed = self._streaming(self._stream, retry)
            self._streamed.skip_what_was_told()
            return
        known_as = self._noted_as
        if known_as and self._node.streams.find(session.id, known_as) is not None:  # that of who came back for it
            known_as = ""
        self._stream = self._node.streams.open(session.id, self._facts(), session.epoch, known_as)
        note = partial(self._note, self._stream.id, time.time())
        self._node.streams.began(session.id, self._stream, note if not self._noted_as else lambda: None)
        self._streamed = self._streaming(self._stream, retry)
        if (asked := self._asked_as) is not None:
            self._namesake = session.asking.get(asked)
            session.asking[asked] = self
        self._listener = Listener(self._answer, self._send, self.on_stall)
        await self._listener.begin(start)
        await self._stream.listen(self._listener, None)
        await self._streamed.begin()

    @property
    def _asked_as(self) -> str | None:
        """The id of its request as the SDKs' servers for Python tell requests apart: 7 is "7" to them."""
        asked = None if self._stream is None else self._stream.facts.request_id
        return None if asked is None else str(asked)

    def _note(self, stream_id: str, began: float) -> Call:
        self.noted = noted(stream_id, self._body, began)
        return self.noted

    def _streaming(self, stream: Stream, retry: int) -> StreamedAnswer:
        session = self._session
        return StreamedAnswer(
            stream, session.protocol, retry, session.incarnation, lambda answer: self._settle(answer, stream.id)
        )

    def _facts(self) -> StreamFacts:
        kind = kind_of(jsonrpc.text_in(self._body.message(), "method"))
        return StreamFacts(kind, self._session.incarnation, self._body.asked())

    async def take(self, message: Message) -> None:
        """The next message of the app's answer."""
        if self._streamed is None or self._stream is None or message["type"] != "http.response.body":
            return
        await self._streamed.feed(message.get("body", b""))
        if message.get("more_body", False):
            if self._last_words is None and self._stream.is_answered:
                loop = asyncio.get_running_loop()
                self._last_words = loop.call_later(_LAST_WORDS_SECONDS, self.has_nothing_to_come.set)
        else:
            wait = self._streamed.retry_milliseconds
            await (self._stream.dismiss(wait) if self._is_let_go() else self.end())

    async def hear_the_rest(self, app: App, scope: Scope, is_ours: Callable[[], Awaitable[bool]]) -> None:
        """The app is done with the request. Where it let its client go before it had answered, to say the rest to a
        GET, be the one that comes back, as often as it does so.

        Args:
            scope: of the request, as it came.
            is_ours: asked before anything is said: whether it may be.
        """
        stream, streamed, in_vain = self._stream, self._streamed, 0
        if stream is None or streamed is None:
            return

        async def feed(piece: bytes) -> None:
            if await is_ours():
                await streamed.feed(piece)

        while self._is_let_go() and in_vain < _TRIES_IN_VAIN and self._lives():
            last_inner_id = streamed.last_inner_id
            get = scope_for(scope, self._session.inner_id, self._session.protocol, method="GET")
            get["headers"].append((LAST_EVENT_ID, last_inner_id.encode()))
            await hear(app, get, feed, lambda: stream.is_answered)
            if self._is_let_go():
                in_vain = in_vain + 1 if streamed.last_inner_id == last_inner_id else 0
                await stream.dismiss(streamed.retry_milliseconds)
                await asyncio.sleep(_AGAIN_SECONDS)

    def _lives(self) -> bool:
        """Whether its session has no later life, and did not end: else the app takes a GET of ours for another's."""
        return self._node.sessions.find(self._session.id) is self._session

    async def end(self) -> None:
        """The app has said all, or failed: where it did not answer, it is said that nobody knows."""
        stream, has_begun, self._streamed, self.noted = self._stream, self._streamed is not None, None, None
        self._make_way_for_namesake()
        if stream is None:
            self._forget_what_was_noted()
        if stream is None or stream.is_over or not has_begun:
            return
        if not stream.is_answered and stream.facts.request_id is not None:
            self._node.tally.outcomes["failed"] += 1
            for one in jsonrpc.each_of(stream.unanswered):
                said = await self._settle(outcome_unknown(replace(stream.facts, request_id=one)).decode(), stream.id)
                if said is None:
                    return
                await stream.say(sse.message_event(said), is_answer=True)
        await stream.end()
        stream.is_kept = stream.id in self._session.settled_streams
        self._node.streams.is_over(self._session.id, stream)
        self._forget_what_was_noted()

    def _make_way_for_namesake(self) -> None:
        """An app that tells requests apart by their ids has answered this one in place of an earlier one under the same
        id, which runs on unanswered. Until now its end in the app might have been taken for the end of this one.
        """
        if self._last_words is not None:
            self._last_words.cancel()
        asking, asked = self._session.asking, self._asked_as
        if asked is not None and asking.get(asked) is self:
            del asking[asked]
        namesake, self._namesake = self._namesake, None
        if namesake is not None:
            namesake.has_nothing_to_come.set()

    def _forget_what_was_noted(self) -> None:
        """Unless something was kept of it: then whoever comes back, or sends it again, is told its outcome."""
        is_kept = self._noted_as in self._session.settled_streams
        if self._noted_as and not is_kept and not self._is_again and not self._session.is_superseded:
            self._node.streams.forget_call(self._session.id, self._session.epoch, self._noted_as)

    async def let_client_go(self) -> bool:
        """End the client's stream, which it comes back to; returns whether it has one."""
        if self._listener is None:
            return False
        await self._listener.end()
        return True

    def give_up(self) -> None:
        """It was cut off: whoever comes back for its stream hears what became of it by the record, also where its
        session has stayed after all."""
        self._make_way_for_namesake()
        stream = self._stream
        if stream is not None and not stream.is_over:
            self._node.streams.drop(self._session.id, stream)
            self._node.sessions.run_errand(stream.dismiss())

    def leave(self) -> None:
        """The client has left."""
        if self._listener is not None:
            self._listener.leave()

    def _is_let_go(self) -> bool:
        is_answered = self._stream is None or self._stream.is_answered
        return self._streamed is not None and bool(self._streamed.last_inner_id) and not is_answered


def can_be_logged(start: Message) -> bool:
    """Whether an answer that begins so is an event stream as we can read it."""
    return bool(start["status"] == 200) and is_open_event_stream(start.get("headers", []))


def noted(stream_id: str, body: RememberedBody, began: float) -> Call:
    """What the next owner has to know of a request."""
    message = body.message()
    name = jsonrpc.text_in(message, "params", "name") or jsonrpc.text_in(message, "params", "uri")
    method = jsonrpc.text_in(message, "method")
    kept = body.raw() if body.size <= _BODY_BYTES else b""
    return Call(
        stream_id,
        json.dumps(body.asked()),
        method,
        name[:_NAME_LENGTH],
        kept,
        began,
    )
