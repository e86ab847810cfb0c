"""What a call changed in its session's state is on record before its answer leaves, in one step with it.

    the commit                             then
    -------------------------------------  ---------------------------------------------------------------------------
    is done                                the answer leaves. After a crash the next owner has both
    cannot be: no JSON, or too much        an error leaves in place of the answer, and the state is what it was
    finds no store, for `hold_seconds`     the same. It may be on record all the same until the next commit is
    finds a later owner                    nothing leaves: that one decides, and has nothing of this call

One at a time for each session: so what is on record is never older than what was answered.
An answer that no client can come back to (JSON, or `stream_logs` off) is held for the commit in the same way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final

from mooring.asgi import EVENT_STREAM, Message, media_type, replaced
from mooring.core import jsonrpc
from mooring.core.answer_reader import AnswerReader
from mooring.core.ids import brief
from mooring.core.kept_state import StateUse
from mooring.core.sse import SseEvent, encode
from mooring.errors import Fenced, StateRefused, StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.bodies import RememberedBody
from mooring.store.journal import StateChange

logger = logging.getLogger("mooring.sessions")

_ANSWER_BYTES: Final = 1024 * 1024
"""A larger answer is delivered, and not kept: who comes back for it is told so."""
_AGAIN_SECONDS: Final = 0.1
_LATEST: Final = 32
"""Of a session's answers, so many stay on record beyond those that run, for clients that did not hear them."""
_LOST: Final = (
    "The request was carried out, and what it changed is kept. Its answer is larger than what is kept for a client "
    "that lost its connection."
)


class Committing:
    """Of one request.

    Args:
        use: what the request has to do with the state.
        body: of the request.
    """

    def __init__(self, node: Node, session: LocalSession, use: StateUse, body: RememberedBody) -> None:
        self._node = node
        self._session = session
        self._use = use
        self._body = body
        # Of an answer that is not logged: its beginning, while it is held, and what finds the answer in it.
        self._start: Message | None = None
        self._reader: AnswerReader | None = None
        self._is_replaced = False

    async def answer(self, answer: str, stream: str) -> str | None:
        """What may leave: the answer, or an error in its place; None where nothing may.

        Args:
            stream: that the client can come back to; "" where there is none.
        """
        session, use = self._session, self._use
        try:
            if use.parts is None or self._node.sessions.find(session.id) is not session:
                return answer
            # What has begun is known to its end, though whoever waits for it is cut off.
            work = asyncio.create_task(self._in_turn(answer, stream))
            self._node.sessions.keep_working(work)
            return await asyncio.shield(work)
        finally:
            session.state.done(use)

    async def _in_turn(self, answer: str, stream: str) -> str | None:
        async with self._session.state_turn:
            return await self._commit(answer, stream)

    async def _commit(self, answer: str, stream: str) -> str | None:
        session, state = self._session, self._session.state
        try:
            text = state.due(self._use)
            if text is None:
                return answer
            outcome = answer.encode()
            if len(outcome) > _ANSWER_BYTES:
                outcome = self._error(_LOST, "answer_lost")
            over = list(session.settled_streams)[:-_LATEST]
            others = state.others(self._use)
            change = StateChange(text, state.next_version(), stream, outcome if stream else b"", others, over)
            stands = await self._write(change)
        except StateRefused as error:
            state.roll_back(self._use)
            return self._refused(f"What this call changed in the state of its session is not kept: {error}.")
        except StoreUnavailable as error:
            state.roll_back(self._use, in_doubt=True)
            self._node.sessions.records.write_later(session)
            logger.warning("what a call changed in session %s is not kept: %s", brief(session.id), error)
            return self._refused(
                "What this call changed in the state of its session could not be written down, and is dropped: Redis "
                "does not take it. Try again. Operator: see the node's log."
            )
        except Fenced:
            self._node.sessions.fence_one(session)
            return None
        if stream and stands != outcome:
            state.roll_back(self._use)
            return stands.decode(errors="replace")
        state.is_kept(text)
        for each in over:
            session.settled_streams.pop(each, None)
        if stream:
            session.settled_streams[stream] = None
        return answer

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
                    node.settings.stream_log_seconds,
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

    async def unlogged(self, message: Message, stream: str) -> list[Message]:
        """What leaves of an answer that is not logged, once the app has sent this."""
        if message["type"] == "http.response.start":
            is_stream = media_type(message.get("headers", [])) == EVENT_STREAM
            self._reader = AnswerReader(in_events=is_stream)
            if self._use.parts is None or is_stream:
                return [message]
            self._start = message
            return []
        if message["type"] != "http.response.body" or self._reader is None or self._is_replaced:
            return [] if self._is_replaced else [message]
        if self._start is None and self._use.parts is None:
            return [message]
        has_answer = self._reader.feed(message.get("body", b""))
        if self._start is None:
            return [await self._in_stream(message, stream)] if has_answer else [message]
        if message.get("more_body", False):
            return []
        return await self._whole(self._start, bytes(self._reader.body), stream)

    async def _in_stream(self, message: Message, stream: str) -> Message:
        answer = json.dumps(self._reader.message) if self._reader else ""
        said = await self.answer(answer, stream)
        if said == answer:
            return message
        self._is_replaced = True
        return {**message, "body": encode(SseEvent(said or "", event="message")) if said else b"", "more_body": False}

    async def _whole(self, start: Message, body: bytes, stream: str) -> list[Message]:
        answer = body.decode(errors="replace")
        said = await self.answer(answer, stream)
        if said is None:
            return []
        if said != answer:
            body = said.encode()
            headers = replaced(start.get("headers", []), b"content-length", b"%d" % len(body))
            start = {**start, "status": 200, "headers": headers}
        return [start, {"type": "http.response.body", "body": body, "more_body": False}]
