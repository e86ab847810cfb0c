"""Calls that are answered by a JSON body (`json_response`). Such an answer has no event ids: where its node dies, a
client has nothing to come back with but the same message, under the same id, which no other request of its session may
have (specification 2025-11-25, Basic / Messages). By that it learns what became of it:

    on record of it, from an earlier incarnation  whoever sends it again gets
    --------------------------------------------  -----------------------------------------------------------------
    nothing                                       what the app answers: it is a new request, as far as anybody knows
    its answer, or an outcome                     that
    it runs, and changes nothing                  what the app answers: it is carried out again
    it runs, is transactional, and no part of it  the same. It is carried out under the name that it has, one at a
    was kept with another call                    time: so it is kept once
    it runs                                       that nobody knows: decided now, once and for all

A call that is answered within `stream_write_after_seconds` (four times that where the session's calls were answered by
streams before) is on no record, unless it changed the state of its session:
that goes on record with its answer (`mooring.node.requests.committing`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

from mooring.asgi import EVENT_STREAM, App, Message, Scope, is_compressed, media_type
from mooring.core.ids import brief
from mooring.core.stream_ids import StreamFacts, kind_of
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.clock import passing_time
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import outcome_unknown
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.call_names import CallName, name_of
from mooring.node.requests.exchange import noted
from mooring.node.requests.harmless import ToolHints, calls_of, leaves_nothing
from mooring.node.streams.answer import answers
from mooring.node.streams.stream import lost_answer
from mooring.store.journal import CALLS, Call, SettledCall

logger = logging.getLogger("mooring.sessions")

_ANSWER_BYTES: Final = 256 * 1024
"""Of a larger answer it is on record that it was given, and so it is of one that the app compresses."""
_LATEST: Final = 32
_LATEST_BYTES: Final = 8 * 1024 * 1024
"""Of a session's answers the latest stay on record: as many as have these bytes, and that many whatever they have. The
ones before have arrived, or nobody asks for them: without a bound a client could fill the store with its calls."""
_PATIENCE: Final = 4
"""So many times longer the app of a session that has seen streams gets to begin one, before its call is written down as
one that it may answer in JSON: there are apps that do both, and busy ones."""
_INCARNATIONS: Final = 3
"""Nodes that may die one after another until a client has sent its call again."""


class JsonCall:
    """What is written of such a call while the app answers it. Nobody waits for that.

    Args:
        body: the request, which the app has had to its end once `begin` is called.
        name: what it is called on record.

    Attributes:
        noted: what is on record of it, while it is not answered.
        again: what it was called when it was sent before, where it is carried out again under that name.
    """

    def __init__(self, node: Node, session: LocalSession, body: RememberedBody, name: CallName) -> None:
        self.noted: Call | None = None
        self.again = ""
        # Held while it is carried out again.
        self._turn: asyncio.Lock | None = None
        self._name = name
        self._node = node
        self._seconds = node.settings.call_log_seconds
        self._session = session
        self._body = body
        # Until the call has lasted long enough to be written down.
        self._timer: asyncio.TimerHandle | None = None
        # Its name on record, once it is; and when it began.
        self._stream_id = ""
        self._began = 0.0
        # The app's answer, as far as it is kept.
        self._answer = bytearray()
        self._is_too_large = False
        # Whether it is one that nobody can read here: compressed, or a stream that is not logged.
        self._is_unreadable = False

    def begin(self) -> None:
        """The app has the request, and may take its time."""
        if self._timer is None:
            self._began = time.time()
            seconds = self._node.settings.stream_write_after_seconds
            if self._session.answers_in_streams:
                seconds *= _PATIENCE
            self._timer = asyncio.get_running_loop().call_later(seconds, self._note)

    def stop(self) -> None:
        """The call is answered."""
        if self._timer is not None:
            self._timer.cancel()

    def end(self) -> None:
        """The call is over, and all of it is on record that is kept."""
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def leave_to_stream(self) -> None:
        """Its answer is a stream, which is logged (`mooring.node.requests.exchange`); so are those of its session."""
        self.stop()
        self._session.answers_in_streams = True
        self._forget()

    def take(self, message: Message) -> None:
        """The next message of the app's answer, before it goes out."""
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            self._is_unreadable = message["status"] == 200 and (
                is_compressed(headers) or media_type(headers) == EVENT_STREAM
            )
        if message["type"] != "http.response.body":
            return
        if not self._is_too_large and not self._is_unreadable:
            self._answer += message.get("body", b"")
            if len(self._answer) > _ANSWER_BYTES:
                self._is_too_large = True
                self._answer.clear()
        if not message.get("more_body", False):
            self._settle()

    async def outcome(self, app: App, scope: Scope) -> bytes | None:
        """What it is answered with, where it was sent before to a node that died; None where the app has to answer it.

        Args:
            scope: of the request, as it came.

        Raises:
            StoreUnavailable: nobody knows.
            Fenced: another node decides.
        """
        node, session, body = self._node, self._session, self._body
        if body.is_lost or body.asked() is None:
            return None
        if session.earlier_calls is None:
            await self._read()
        if session.earlier_calls and passing_time() - session.since > self._seconds:
            session.earlier_calls = {}
        call = _find(node, session.id, session.incarnation - 1, body, session.earlier_calls or {})
        if leaves_nothing(call):
            call = await self._in_turn(call.stream)
            if leaves_nothing(call):
                self.again = call.stream
                _tell(node, session, call, "run again")
                return None
            self.end()
        return await self._settled(call, app, scope)

    async def _read(self) -> dict[str, Call | SettledCall]:
        self._session.earlier_calls = known = await calls_of(self._node, self._session.id)
        return known

    async def _in_turn(self, stream: str) -> Call | SettledCall | None:
        """What is on record once nobody else carries it out."""
        turn = self._session.turn_of(stream)
        await turn.acquire()
        self._turn = turn
        try:
            return (await self._read()).get(stream)
        except StoreUnavailable:
            self.end()
            raise

    async def _settled(self, call: Call | SettledCall | None, app: App, scope: Scope) -> bytes | None:
        """The outcome of that call, which is decided now where it was not."""
        node, session, body = self._node, self._session, self._body
        if not isinstance(call, Call):
            return None if call is None else call.outcome
        journal = node.store.journal
        earlier = session.earlier_calls if session.earlier_calls is not None else {}
        facts = StreamFacts(kind_of(call.method), session.incarnation, body.asked())
        if await ToolHints(node, session, app, scope).changes_nothing(call, facts.kind):
            earlier.pop(call.stream, None)
            await journal.forget(session.id, session.epoch, [call.stream])
            _tell(node, session, call, "run again")
            return None
        outcome = outcome_unknown(facts, call.name)
        outcome = await journal.settle(session.id, session.epoch, call.stream, outcome, self._seconds)
        earlier[call.stream] = SettledCall(call.stream, outcome)
        _tell(node, session, call, "unknown")
        return outcome

    def _note(self) -> None:
        self._stream_id = self._name.take()
        if not self._stream_id:
            return
        session, call = self._session, noted(self._stream_id, self._body, self._began)
        self.noted = call
        self._write(self._node.store.journal.note_calls(session.id, session.epoch, [call], self._seconds))

    def _settle(self) -> None:
        """The answer is whole. One that answers something else, as a refusal does, is none."""
        self.stop()
        self.noted = None
        if not self._stream_id:
            return
        session, journal = self._session, self._node.store.journal
        if self._is_too_large or self._is_unreadable:
            outcome = lost_answer(self._body.asked())
        elif answers(self._answer.decode(errors="replace"), self._body.asked()):
            outcome = bytes(self._answer)
        else:
            self._forget()
            return
        self._write(journal.settle(session.id, session.epoch, self._stream_id, outcome, self._seconds))
        over = _no_more_kept(session.answered, self._stream_id, len(outcome))
        if over:
            self._write(journal.forget(session.id, session.epoch, over))

    def _forget(self) -> None:
        self.noted = None
        if self._stream_id:
            session, journal = self._session, self._node.store.journal
            self._write(journal.forget(session.id, session.epoch, [self._stream_id]))

    def _write(self, writing: Coroutine[Any, Any, Any]) -> None:
        async def write() -> None:
            try:
                await writing
            except Fenced:
                logger.info("session %s has another owner by now: a call is not on record", brief(self._session.id))
            except StoreUnavailable as error:
                self._node.keeper.running_calls.are_due()  # as long as it runs; else nobody hears that it did
                logger.warning("a call is not on record, and its outcome unknown if this node dies: %s", error)

        self._node.sessions.run_errand(write())


def _no_more_kept(answered: dict[str, int], name: str, size: int) -> list[str]:
    """This one is on record from now on; returns those that are not any more."""
    answered.pop(name, None)
    answered[name] = size
    left, over = sum(answered.values()), []
    while len(answered) > CALLS or (len(answered) > _LATEST and left > _LATEST_BYTES):
        oldest = next(iter(answered))
        left -= answered.pop(oldest)
        over.append(oldest)
    return over


async def is_on_record(node: Node, session_id: str, body: RememberedBody) -> bool:
    """Whether whoever owns this session now can say what became of this request, which was sent to its last owner.

    Raises:
        StoreUnavailable: nobody knows.
    """
    record = await node.store.load_session(session_id)
    if record is None or body.asked() is None:
        return False
    return _find(node, session_id, record.incarnation, body, await calls_of(node, session_id)) is not None


def _find(
    node: Node, session_id: str, last: int, body: RememberedBody, calls: dict[str, Call | SettledCall]
) -> Call | SettledCall | None:
    """What is known of that request from this incarnation and those before."""
    if not calls or body.is_lost:
        return None
    for incarnation in range(last, max(-1, last - _INCARNATIONS), -1):
        call = calls.get(name_of(node, session_id, incarnation, body))
        if call is not None:
            return call
    return None


def _tell(node: Node, session: LocalSession, call: Call, outcome: str) -> None:
    node.tally.outcomes[outcome] += 1
    what = f"{call.method} {call.name}".strip() or "a batch"
    logger.warning(
        "session %s: %r was running when its node was lost, and is sent again: %s",
        brief(session.id),
        what[:200],
        outcome,
    )
