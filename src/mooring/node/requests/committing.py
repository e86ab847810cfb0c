"""What a call changed in its session's state is on record before its answer leaves, in one step with it.

    the commit                             then
    -------------------------------------  ---------------------------------------------------------------------------
    is done                                the answer leaves. After a crash the next owner has both
    cannot be: no JSON, or too much        an error leaves in place of the answer, and the state is what it was
    finds no store, for `hold_seconds`     the same. It may be on record all the same until the next commit is
    finds a later owner                    nothing leaves: that one decides, and has nothing of this call
    finds that its session was deleted     the answer leaves: nothing is kept of that one
    finds its next incarnation here        an error leaves: that one has the state as it was

One at a time for each session: so what is on record is never older than what was answered. A session that sleeps, or
that its app has ended by itself, goes on: what its last calls changed is kept as well.

An answer that no client can come back to (JSON, or `stream_logs` off) is held for the commit in the same way. One in
JSON goes on record under the name of its call (`mooring.node.requests.call_names`). In an event stream that cannot be
read, since the app has compressed it, nobody sees the answer: what its call has changed so far is on record before each
piece of it. A call that ends without an answer is on record with an outcome that nobody knows.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from mooring.asgi import EVENT_STREAM, Message, header, media_type, replaced, without
from mooring.core import jsonrpc
from mooring.core.answer_reader import AnswerReader
from mooring.core.ids import brief
from mooring.core.kept_state import StateUse
from mooring.core.sse import SseEvent, encode
from mooring.core.stream_ids import StreamFacts, StreamKind
from mooring.errors import Fenced, StateRefused, StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import outcome_unknown
from mooring.node.requests.bodies import RememberedBody
from mooring.node.streams.answer import answers
from mooring.store.journal import StateChange

logger = logging.getLogger("mooring.sessions")

_ANSWER_BYTES: Final = 1024 * 1024
"""A larger answer is delivered, and not kept: who comes back for it is told so."""
_AGAIN_SECONDS: Final = 0.1
_LATEST: Final = 32
"""Of a session's answers, so many stay on record beyond those that run, for clients that did not hear them."""
_LOST: Final = (
    "The request was carried out, and what it changed is kept. Its answer is not: it is larger than what is kept for a "
    "client that lost its connection, or cannot be read."
)
_ELSEWHERE: Final = frozenset({"fenced", "moved"})
"""How sessions end that another node has by now."""


class Committing:
    """Of one request, which has one answer.

    Args:
        use: what the request has to do with the state.
        body: of the request.
        name: what it is called on record, once that is asked for; "" where it has no name.
    """

    def __init__(
        self, node: Node, session: LocalSession, use: StateUse, body: RememberedBody, name: Callable[[], str]
    ) -> None:
        self._node = node
        self._session = session
        self._use = use
        self._body = body
        self._name = name
        # From when there is an answer: what may leave in its place.
        self._work: asyncio.Task[str | None] | None = None
        # Of an answer that is not logged: its beginning and its body, while they are held; what finds the answer in a
        # stream, and whether it did; whether it can; and whether nothing more of it leaves.
        self._start: Message | None = None
        self._held = bytearray()
        self._reader: AnswerReader | None = None
        self._is_found = False
        self._is_unreadable = False
        self._is_replaced = False

    async def answer(self, answer: str, stream: str) -> str | None:
        """What may leave: the answer, or an error in its place; None where nothing may.

        Args:
            stream: what it is called on record; "" where nobody can ask for it.
        """
        if self._work is None:
            if self._use.parts is None:
                self._session.state.done(self._use)
                return answer
            # What has begun is known to its end, though whoever waits for it is cut off.
            self._work = asyncio.create_task(self._in_turn(answer, self._use.stream or stream))
            self._node.sessions.keep_working(self._work)
        return await asyncio.shield(self._work)

    async def end(self) -> None:
        """The request is over, and was not cut off. What it changed without an answer is on record as well."""
        if self._work is None and self._use.parts is not None:
            facts = StreamFacts(StreamKind.CALL, self._session.incarnation, self._body.asked())
            await self.answer(outcome_unknown(facts).decode(), self._name())
        self._session.state.done(self._use)

    async def _in_turn(self, answer: str, stream: str) -> str | None:
        try:
            async with self._session.state_turn:
                return await self._commit(answer, stream)
        finally:
            self._session.state.done(self._use)

    async def _commit(self, answer: str, stream: str) -> str | None:
        session, use = self._session, self._use
        try:
            text = session.state.due(use)
            if text is None and use.is_mixed and stream:
                text = session.state.kept
            if text is None or session.is_closed:
                return answer
            if session.ends_as in _ELSEWHERE:
                return None
            if session.is_superseded:
                raise StateRefused("the session was opened again while the call ran, with the state that it had before")
            return await self._kept(text, answer, stream)
        except StateRefused as error:
            session.state.roll_back(use)
            said = self._refused(f"What this call changed in the state of its session is not kept: {error}.")
            if use.is_mixed and stream:
                await self._settle(stream, said)
            return said
        except StoreUnavailable as error:
            session.state.roll_back(use, in_doubt=True)
            self._node.sessions.records.write_later(session)
            logger.warning("what a call changed in session %s is not kept: %s", brief(session.id), error)
            return self._refused(
                "What this call changed in the state of its session could not be written down, and is dropped: Redis "
                "does not take it. Try again. Operator: see the node's log."
            )
        except Fenced:
            if session.is_closed:
                return answer
            self._give_way()
            return None

    async def _kept(self, text: bytes, answer: str, stream: str) -> str:
        """
        Raises:
            Fenced: another node decides.
            StoreUnavailable: nobody knows whether it is on record.
        """
        session, state, use = self._session, self._session.state, self._use
        outcome = self._outcome(answer)
        over = list(session.settled_streams)[:-_LATEST]
        state.mix(use)
        mixed = state.others(use)
        if not stream and use.stream:  # a part of this one, which has no answer yet
            mixed.append(use.stream)
        change = StateChange(text, state.next_version(), stream, outcome if stream else b"", mixed, over)
        stands = await self._write(change)
        if stream and stands != outcome:
            state.roll_back(use)
            return stands.decode(errors="replace")
        state.is_kept(text)
        for each in over:
            session.settled_streams.pop(each, None)
        if stream:
            session.settled_streams[stream] = None
        return answer

    def _outcome(self, answer: str) -> bytes:
        """The answer as whoever comes back for it gets it."""
        outcome = answer.encode()
        is_answer = len(outcome) <= _ANSWER_BYTES and answers(answer, self._body.asked())
        return outcome if is_answer else self._error(_LOST, "answer_lost")

    async def _settle(self, stream: str, said: str) -> None:
        """A part of the call is on record, and the rest is dropped: it is not carried out again."""
        session = self._session
        session.settled_streams[stream] = None
        with suppress(StoreUnavailable, Fenced):
            await self._node.store.journal.settle(
                session.id, session.epoch, stream, said.encode(), self._node.settings.call_log_seconds
            )

    def _give_way(self) -> None:
        """Another node has the session."""
        session, sessions = self._session, self._node.sessions
        if sessions.find(session.id) is session:
            sessions.fence_one(session)
        else:  # it was told of its end, and the app has none of it
            for request in list(session.running):
                request.cut_off()

    async def _write(self, change: StateChange) -> bytes:
        """
        Raises:
            Fenced: another node decides.
            StoreUnavailable: for as long as it may take.
        """
        node, session = self._node, self._session
        loop = asyncio.get_running_loop()
        until = loop.time() + node.settings.hold_seconds
        has_missed = False
        while True:
            try:
                return await node.store.journal.commit(
                    session.id,
                    session.epoch,
                    change,
                    self._node.settings.call_log_seconds,
                    node.settings.session_ttl_seconds,
                )
            except StoreUnavailable:
                if loop.time() >= until:
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
            except Fenced as fenced:
                if not fenced.is_missing or has_missed or not await node.sessions.records.write(session):
                    raise
                has_missed = True  # the store was emptied: it has the record again

    def _refused(self, text: str) -> str:
        """The error that the client gets: of a tool, in the form in which models see it."""
        message = self._body.message()
        if jsonrpc.text_in(message, "method") != "tools/call":
            return self._error(text, "state_not_kept").decode()
        result = {"content": [{"type": "text", "text": text}], "isError": True}
        return json.dumps({"jsonrpc": "2.0", "id": jsonrpc.id_of(message), "result": result})

    def _error(self, text: str, reason: str) -> bytes:
        request_id = jsonrpc.id_of(self._body.message())
        return jsonrpc.error_answer(request_id, jsonrpc.INTERNAL_ERROR, text, {"reason": reason})

    async def unlogged(self, message: Message) -> list[Message]:
        """What leaves of an answer that is not logged, once the app has sent this."""
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            if media_type(headers) == EVENT_STREAM:
                self._reader = AnswerReader(in_events=True)
                self._is_unreadable = header(headers, b"content-encoding") is not None
                return [message]
            self._start = message  # until it is known whether its body has to be held
            return []
        if self._is_replaced:
            return []
        if message["type"] != "http.response.body":
            return [*self._let_go(), message]
        if self._reader is not None:
            return [await (self._after_the_last(message) if self._is_unreadable else self._in_stream(message))]
        if self._use.parts is None and not self._held:
            return [*self._let_go(), message]
        if self._start is None:
            return await self._rest(message)
        self._held += message.get("body", b"")
        return [] if message.get("more_body", False) else await self._whole(self._start, bytes(self._held))

    def _let_go(self) -> list[Message]:
        start, self._start = self._start, None
        return [] if start is None else [start]

    async def _in_stream(self, message: Message) -> Message:
        has_answer = self._reader is not None and not self._is_found and self._reader.feed(message.get("body", b""))
        if not has_answer:
            return message
        self._is_found = True
        answer = json.dumps(self._reader.message) if self._reader and self._reader.message else ""
        said = await self.answer(answer, self._name())
        if said == answer:
            return message
        self._is_replaced = True
        return {**message, "body": encode(SseEvent(said or "", event="message")) if said else b"", "more_body": False}

    async def _after_the_last(self, message: Message) -> Message:
        """The next piece of a stream that cannot be read, once all is on record that it may tell of."""
        if self._use.parts is None or self._use.is_over:
            return message
        if message.get("more_body", False):
            async with self._session.state_turn:
                before = self._session.state.kept
                said = await self._commit("", "")
                self._use.is_mixed = self._use.is_mixed or self._session.state.kept is not before
        else:
            said = await self.answer("", self._name())
        if said == "":
            return message
        self._is_replaced = True
        return {**message, "body": b"", "more_body": False}

    async def _rest(self, message: Message) -> list[Message]:
        """The next piece of an answer that began to leave before its call asked for the state."""
        if not message.get("more_body", False) and await self.answer("", self._name()) != "":
            self._is_replaced = True  # it stays without its end, and no part is taken for a whole
            return []
        return [message]

    async def _whole(self, start: Message, body: bytes) -> list[Message]:
        answer = body.decode(errors="replace")
        said = await self.answer(answer, self._name())
        if said is None:
            return []
        if said != answer:
            body = said.encode()
            headers = without(start.get("headers", []), b"content-encoding")
            start = {**start, "status": 200, "headers": replaced(headers, b"content-length", b"%d" % len(body))}
        return [start, {"type": "http.response.body", "body": body, "more_body": False}]
