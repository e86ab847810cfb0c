"""What became of a request whose stream a client comes back to, where its node is gone.

    on record                                     then the client gets
    --------------------------------------------  -----------------------------------------------------------------
    all that was said, to the end                 what it has not heard of that
    the answer, but not the end                   the same
    a part of it, and an outcome                  the same, and the outcome: it was decided before
    a part of it; the request changes nothing     the same, and the answer of the request carried out again
    a part, or nothing; the request is trans-     the same. Nothing that it changed was kept without its answer: so
    actional, and is not settled                  nothing was
    a part of it, or nothing                      the same, and that nobody knows: decided now, once and for all

A request changes nothing where its method says so (`mooring.core.stream_ids`), or its tool: `readOnlyHint` or
`idempotentHint`, as the app tells us (specification 2025-11-25, Tools: annotations). It is carried out again only where
it is on record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import replace

from mooring.asgi import App, Message, Scope, WholeBody
from mooring.core import jsonrpc, sse
from mooring.core.ids import brief
from mooring.core.request import RequestFacts
from mooring.core.stream_ids import Place, StreamFacts, asked_of
from mooring.errors import StoreUnavailable
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.answers import outcome_unknown
from mooring.node.requests.harmless import ToolHints, calls_of, leaves_nothing
from mooring.node.requests.in_session import SessionRequest
from mooring.node.requests.inner import scope_for
from mooring.node.streams.stream import Stream
from mooring.store.journal import Call, SettledCall

logger = logging.getLogger("mooring.sessions")


class Settlement:
    """Of one stream, on the node that owns its session now.

    Args:
        scope: of the request that asks for it.
        place: the last event that its client has.
    """

    def __init__(
        self,
        node: Node,
        session: LocalSession,
        app: App,
        scope: Scope,
        stream_id: str,
        place: Place,
        facts: StreamFacts,
    ) -> None:
        self._node = node
        self._session = session
        self._app = app
        self._scope = scope
        self._id = stream_id
        self._place = place
        self._facts = facts

    async def settle(self) -> Stream:
        """The stream, as far as it is on record, and what is decided of it; the answer may still be to come.

        Raises:
            StoreUnavailable: nobody knows.
            Fenced: another node decides.
        """
        journal = self._node.store.journal
        entries = await journal.read(self._session.id, self._id)
        calls = await calls_of(self._node, self._session.id)
        stream = self._node.streams.find(self._session.id, self._id)
        if stream is not None:  # another request was faster
            return stream
        stream = self._node.streams.restored(self._session.id, self._id, self._facts, self._session.epoch, entries)
        stream.log.skip_to(self._place)
        try:
            await self._decide(stream, calls.get(self._id), has_ended=bool(entries) and entries[-1].is_last)
        except BaseException:  # whoever comes back next tries again, and whoever listens already comes back
            self._node.streams.drop(self._session.id, stream)
            self._node.sessions.run_errand(stream.dismiss())
            raise
        return stream

    async def _decide(self, stream: Stream, noted: Call | SettledCall | None, *, has_ended: bool) -> None:
        if has_ended or stream.is_answered:
            await self._end(stream)
            return
        if isinstance(noted, Call) and noted.body and await self._may_run_again(noted):
            self._note("run again", noted)
            self._node.sessions.keep_working(asyncio.create_task(self._run_again(stream, noted)))
            return
        outcome = noted.outcome if isinstance(noted, SettledCall) else self._unknown(noted, stream.unanswered)
        if outcome:
            outcome = await self._node.store.journal.settle(
                self._session.id, self._session.epoch, self._id, outcome, self._node.settings.call_log_seconds
            )
            await self._say(stream, outcome)
        await self._end(stream)

    async def _end(self, stream: Stream) -> None:
        await stream.end()
        self._node.streams.is_over(self._session.id, stream)

    async def _say(self, stream: Stream, outcome: bytes) -> None:
        """What became of a batch is said one by one: clients read no batch on a stream."""
        messages = jsonrpc.read_messages(outcome)
        for one in [json.dumps(message) for message in messages] if len(messages) > 1 else [outcome.decode()]:
            await stream.say(sse.message_event(one), is_answer=True)

    def _unknown(self, call: Call | SettledCall | None, unanswered: jsonrpc.Asked) -> bytes:
        """That nobody knows; empty where nobody knows the request either."""
        noted = call if isinstance(call, Call) else None
        if unanswered is None and noted is not None:
            unanswered = asked_of(noted.request_id_json)
        if unanswered is None:
            return b""
        facts = replace(self._facts, request_id=unanswered)
        self._note("unknown", noted)
        return outcome_unknown(facts, "" if noted is None else noted.name)

    def _note(self, outcome: str, call: Call | None) -> None:
        self._node.tally.outcomes[outcome] += 1
        what = "a request" if call is None else f"{call.method} {call.name}".strip()
        logger.warning(
            "session %s: %r was running when its node was lost: %s", brief(self._session.id), what[:200], outcome
        )

    async def _may_run_again(self, call: Call) -> bool:
        """Whether nothing of it is left, or would matter."""
        if leaves_nothing(call):
            return True
        hints = ToolHints(self._node, self._session, self._app, self._scope)
        return await hints.changes_nothing(call, self._facts.kind)

    async def _run_again(self, stream: Stream, call: Call) -> None:
        """Its answer goes where the first one would have gone.

        One at a time: whoever waited finds what became of it meanwhile, for a client that has sent it again as well.
        """
        async with self._session.turn_of(self._id):
            try:
                stands = await self._outcome()
            except StoreUnavailable:  # whoever listens comes back
                self._node.streams.drop(self._session.id, stream)
                await stream.dismiss()
                return
            if stands:
                await self._say(stream, stands)
                await self._end(stream)
            else:
                await self._carry_out(stream, call)

    async def _outcome(self) -> bytes:
        """What is on record of it; empty while there is none."""
        found = (await calls_of(self._node, self._session.id)).get(self._id)
        return found.outcome if isinstance(found, SettledCall) else b""

    async def _carry_out(self, stream: Stream, call: Call) -> None:
        scope = scope_for(self._scope, self._session.id, self._session.protocol)
        scope["headers"].append((b"content-length", b"%d" % len(call.body)))
        facts = RequestFacts(method="POST", session_id=self._session.id)
        answer = bytearray()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.body":
                answer.extend(message.get("body", b""))

        self._session.state.begins_again(stream.id)
        request = SessionRequest(
            self._node, self._session, facts, scope, WholeBody(call.body).receive, take, onto=stream
        )
        with contextlib.suppress(Exception):
            await request.serve(self._app)
        if request.is_cut_off:
            await stream.dismiss()  # the next owner decides
        if stream.is_over or request.is_cut_off:
            return
        message = jsonrpc.read_message(answer)
        if message is not None and jsonrpc.is_answer(message):
            await stream.say(sse.message_event(answer.decode(errors="replace")), is_answer=True)
        elif not stream.is_answered:
            await self._say(stream, self._unknown(call, stream.unanswered))
        await self._end(stream)
