"""What a call changed in its session's state is on record before its answer leaves, in one step with it.

    the commit                             then
    -------------------------------------  ---------------------------------------------------------------------------
    is done                                the answer leaves. After a crash the next owner has both
    cannot be: no JSON, or too much        an error leaves in place of the answer, and the state is what it was
    finds no store, for `hold_seconds`     the same. It may be on record all the same until the next commit is
    finds no record of the session         that is written anew, and it is tried again: the store was emptied
    finds a later owner                    nothing leaves: that one decides, and has nothing of this call
    finds that its session was deleted     the answer leaves: nothing is kept of that one
    finds its next incarnation here        an error leaves: that one has the state as it was

One at a time for each session: so what is on record is never older than what was answered. A session that sleeps, or
that its app has ended by itself, goes on: what its last calls changed is kept as well.

An answer that no client can come back to (JSON, or `stream_logs` off) is held for the commit in the same way
(`withholding`). One in JSON goes on record under the name of its call (`call_names`). A call that ends without an
answer is on record with an outcome that nobody knows.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from mooring.core import jsonrpc
from mooring.core.ids import brief
from mooring.core.kept_state import StateUse
from mooring.core.stream_ids import StreamFacts, StreamKind
from mooring.errors import Fenced, StateRefused, StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import outcome_unknown
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


class ReadBody(Protocol):
    """A request's body, once it is whole."""

    def message(self) -> jsonrpc.Message:
        """The message in it, as far as it can be read."""

    def asked(self) -> jsonrpc.Asked:
        """The id of the request in it, or those of a batch."""


class Committing:
    """Of what one request, which has one answer, has changed of one state.

    Args:
        use: what the request has to do with the state.
        body: of the request.
    """

    _of = "its session"

    def __init__(self, node: Node, session: LocalSession, use: StateUse, body: ReadBody) -> None:
        self._node = node
        self._session = session
        self.use = use
        self._body = body
        # From when there is an answer: what may leave in its place.
        self._work: asyncio.Task[str | None] | None = None

    @property
    def is_used(self) -> bool:
        """Whether the call has asked for the state, and is not answered."""
        return self.use.parts is not None and not self.use.is_over

    async def answer(self, answer: str, stream: str) -> str | None:
        """What may leave: the answer, or an error in its place; None where nothing may.

        Args:
            stream: what it is called on record; "" where nobody can ask for it.
        """
        if self._work is None:
            if self.use.parts is None:
                self._session.state.done(self.use)
                return answer
            # What has begun is known to its end, though whoever waits for it is cut off.
            self._work = asyncio.create_task(self._in_turn(answer, self.use.stream or stream))
            self._node.sessions.keep_working(self._work)
        return await asyncio.shield(self._work)

    async def end(self, name: Callable[[], str]) -> None:
        """The request is over, and was not cut off. What it changed without an answer is on record as well.

        Args:
            name: what it is called there, once that is asked for; "" where it has no name.
        """
        if self._work is None and self.use.parts is not None:
            facts = StreamFacts(StreamKind.CALL, self._session.incarnation, self._body.asked())
            await self.answer(outcome_unknown(facts).decode(), name())
        self._session.state.done(self.use)

    async def so_far(self) -> bool:
        """Write what the call, which goes on, has changed up to now; returns whether more of its answer may leave."""
        async with self._session.state_turn:
            before = self._session.state.kept
            said = await self._commit("", "")
            self.use.is_mixed = self.use.is_mixed or self._session.state.kept is not before
        return said == ""

    async def _in_turn(self, answer: str, stream: str) -> str | None:
        try:
            async with self._session.state_turn:
                return await self._commit(answer, stream)
        finally:
            self._session.state.done(self.use)

    async def _commit(self, answer: str, stream: str) -> str | None:
        session, use = self._session, self.use
        try:
            text = session.state.due(use)
            if text is None and use.is_mixed and stream:
                text = session.state.kept
            if text is None or session.is_closed:
                return answer
            if session.ends_as in _ELSEWHERE:
                return self._in_place_of_answer(answer)
            if session.is_superseded:
                raise StateRefused("the session was opened again while the call ran, with the state that it had before")
            return await self._kept(text, answer, stream)
        except StateRefused as error:
            session.state.roll_back(use)
            said = self._refused(f"What this call changed in the state of {self._of} is not kept: {error}.", answer)
            if use.is_mixed and stream:
                await self._settle(stream, said)
            return said
        except StoreUnavailable as error:
            session.state.roll_back(use, in_doubt=True)
            self._node.sessions.records.write_later(session)
            logger.warning("what a call changed in session %s is not kept: %s", brief(session.id), error)
            return self._refused(
                f"What this call changed in the state of {self._of} could not be written down, and is dropped: Redis "
                "does not take it. Try again. Operator: see the node's log.",
                answer,
            )
        except Fenced:
            if session.is_closed:
                return answer
            self._give_way()
            return self._in_place_of_answer(answer)

    async def _kept(self, text: bytes, answer: str, stream: str) -> str:
        """
        Raises:
            Fenced: another node decides.
            StoreUnavailable: nobody knows whether it is on record.
        """
        session, state, use = self._session, self._session.state, self.use
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
        return outcome if is_answer else self._error(_LOST, "answer_lost", answer)

    async def _settle(self, stream: str, said: str) -> None:
        """A part of the call is on record, and the rest is dropped: it is not carried out again."""
        session = self._session
        session.settled_streams[stream] = None
        with suppress(StoreUnavailable, Fenced):
            await self._node.store.journal.settle(
                session.id, session.epoch, stream, said.encode(), self._node.settings.call_log_seconds
            )

    def _in_place_of_answer(self, answer: str) -> str | None:
        """What leaves where another node decides: nothing, since that one answers."""
        return None

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
                if not fenced.is_missing or session.is_closed or not await node.sessions.records.write(session):
                    raise
                # The store was emptied. It has the record again, unless it takes none now, or was emptied once more.
                if has_missed:
                    if loop.time() >= until:
                        raise StoreUnavailable(f"the store does not keep the session's record: {fenced}") from fenced
                    await asyncio.sleep(_AGAIN_SECONDS)
                has_missed = True

    def _refused(self, text: str, answer: str) -> str:
        """The error that the client gets in place of the answer: of a tool, in the form in which models see it."""
        message = self._body.message()
        if jsonrpc.text_in(message, "method") != "tools/call":
            return self._error(text, "state_not_kept", answer).decode()
        result = self._result(text)
        return json.dumps({"jsonrpc": "2.0", "id": self._id(answer), "result": result})

    def _result(self, text: str) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": text}], "isError": True}

    def _error(self, text: str, reason: str, answer: str) -> bytes:
        return jsonrpc.error_answer(self._id(answer), jsonrpc.INTERNAL_ERROR, text, {"reason": reason})

    def _id(self, answer: str) -> jsonrpc.RequestId | None:
        """That of the request; where it was too large to be read, its answer says it."""
        request_id = jsonrpc.id_of(self._body.message())
        return request_id if request_id is not None else jsonrpc.id_of(jsonrpc.read_message(answer) or {})

    def drop(self) -> None:
        """The request is over, and what it changed is nobody's."""
        self._session.state.done(self.use)
