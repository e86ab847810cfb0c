"""A request on a session that lives here, on its way to the app and back.

The public session id is the only one that a client ever sees: where the app has its own name for the session, the
header is rewritten both ways.

Whether it may use the session is found out on the way (`mooring.node.requests.entrance`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container
from dataclasses import replace
from functools import partial
from typing import Any, Final

from mooring.asgi import App, Message, Receive, Scope, Send, is_at, replaced, respond
from mooring.core import jsonrpc, questions
from mooring.core.jsonrpc import Asked
from mooring.core.kept_state import StateUse
from mooring.core.request import SESSION_HEADER, RequestFacts
from mooring.core.routing import Reason
from mooring.errors import Fenced, StoreUnavailable
from mooring.node.clock import passing_time
from mooring.node.current import Serving
from mooring.node.current_call import has_transactional_tools, is_transactional
from mooring.node.membership import inner_ids
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.passing import PassingAnswer
from mooring.node.requests.admission import REQUEST, note_refusal
from mooring.node.requests.answers import last_words, refuse
from mooring.node.requests.bodies import RememberedBody
from mooring.node.requests.call_names import CallName
from mooring.node.requests.call_states import CallStates
from mooring.node.requests.committing import Committing
from mooring.node.requests.entrance import Entrance
from mooring.node.requests.exchange import Exchange, can_be_logged
from mooring.node.requests.handle_answers import refuse_handle
from mooring.node.requests.json_calls import JsonCall
from mooring.node.requests.named_handles import NamedHandles
from mooring.node.requests.passing_questions import PassingQuestions
from mooring.node.requests.patience import patiently
from mooring.node.requests.principal import NOBODY, principal_of
from mooring.node.requests.remembering import heed_cancellation, remember
from mooring.node.streams.stream import Stream
from mooring.store.journal import Call

_DISCONNECT: Final[Message] = {"type": "http.disconnect"}

_REMEMBERED_BYTES: Final = 1024 * 1024
"""Of a body: to know the request, and to send it again."""

_ANSWER_LIMIT_BYTES: Final = 16 * 1024 * 1024
_ANSWER_TO_NOBODY: Final = b'{"jsonrpc":"2.0","id":"mooring","result":{}}'

_NO_STATE_IN_BATCHES: Final = (
    "a batch has several answers, and none of them can go on record with what all of its calls change. Send each call "
    "by itself"
)

_CALL: Final = (b"tools/call", rb"tools\/call")
"""PHP escapes each slash in JSON, unless told otherwise."""


class SessionRequest:
    """One request on a session that lives here.

    Args:
        onto: the stream that the answer goes to, where it is carried out again.
        is_last: the session was opened again for it already: what the app answers now is the answer.
        is_named: what the server asks in its answer is named by whoever takes that.

    Attributes:
        is_cut_off: nothing more of it gets out, and another node decides what becomes of it.
    """

    is_inquiry = False
    _entrance_type = Entrance

    def __init__(
        self,
        node: Node,
        session: LocalSession,
        facts: RequestFacts,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        onto: Stream | None = None,
        is_last: bool = False,
        is_named: bool = False,
    ) -> None:
        self._node = node
        self._session = session
        self._method = facts.method
        self.is_listening = facts.method == "GET"
        self.since = time.monotonic()
        # For what the app is asked beside it: routers write into the scope what they have made of the path.
        self.as_it_came = {**scope}
        # Below the endpoint's path the app may have something else.
        self._is_at_endpoint = is_at(scope, session.endpoint)
        self._is_delete = facts.method == "DELETE" and self._is_at_endpoint
        self._is_logged = self._is_at_endpoint and facts.method == "POST" and node.settings.stream_logs
        self._entrance = self._entrance_type(
            node, session, scope, is_at_endpoint=self._is_at_endpoint, ends=self._is_delete
        )
        self._send = send
        # Whether it was turned away, or answered in the app's place; and its answer as far as it has left.
        self._is_turned_away = False
        self._answer = PassingAnswer()
        # The task that the app runs in, to cancel; whether another node owns the session by now.
        self._task: asyncio.Task[Any] | None = None
        self.is_cut_off = False
        # What serves it, once that was asked.
        self._app: App | None = None
        # Whether the app answered that it has no such session any more, which nobody was told.
        self._is_session_gone = False
        self._is_too_large = False
        self._is_last = is_last
        # To know the request, to answer it in the app's place, or to send it again.
        self._body = RememberedBody(receive, _REMEMBERED_BYTES)
        self._use = StateUse(session.state, "" if onto is None else onto.id)
        self._name = CallName(node, session, self._body)
        own = Committing(node, session, self._use, self._body)
        self._states = CallStates(node, self._body, scope, own, session.principal)
        self._exchange = Exchange(node, session, self._body, self._name, self._answer, send, self._states.answer, onto)
        # Whether it was looked at for a call that has to be on record before the app has it.
        self._is_noted = onto is not None or not self._is_logged or not node.streams.is_written_behind
        # What the server asks on a stream that is not kept, where it has asked others in an earlier life.
        self._questions = PassingQuestions(session, are_named=is_named) if session.incarnation else None
        # Where it may be answered in JSON, and is carried out for the first time here.
        self._json = JsonCall(node, session, self._body, self._name) if self._is_logged and onto is None else None
        self._handles = NamedHandles(node)
        # Whether the app is done with it: whatever it waits for, it is told that the client has left.
        self._is_over = False

    async def serve(self, app: App) -> bool:
        """Have the app answer, whether or not the client stays: some servers cancel the task of one that leaves.

        Returns whether it was answered: not where the app has dropped the session by itself.
        """
        work = asyncio.create_task(self._serve_to_its_end(app))
        served_by, has_stalled = asyncio.current_task(), False

        def let_go() -> None:
            """Of a client that takes nothing any more: its server breaks off, and it comes back for the rest."""
            nonlocal has_stalled
            if served_by is not None and not work.done():
                has_stalled = True
                served_by.cancel()

        self._exchange.on_stall = let_go
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            if work.done() or self._node.is_stopping:
                work.cancel()
            else:
                self._exchange.leave()
            self._node.sessions.keep_working(work)
            if has_stalled and served_by is not None and not served_by.uncancel():
                return True
            raise

    async def _serve_to_its_end(self, app: App) -> bool:
        self._task = asyncio.current_task()
        self._session.running.add(self)
        self._app = app
        is_broken_off = False
        try:
            await self._serve(app)
            if not self.is_cut_off:
                await self._exchange.hear_the_rest(app, self.as_it_came, self._is_still_ours)
            if self.is_cut_off:
                await asyncio.sleep(0)  # where the app did not come to meet its cancellation, we do
        except asyncio.CancelledError:
            is_broken_off = self._node.is_stopping and not self._node.is_alone  # then nobody else decides
            if not self.is_cut_off:
                raise
        finally:
            self._session.running.discard(self)
            self._handles.end()
            if self._entrance.is_used:
                self._session.last_seen = passing_time()
            self._is_over = True
            self._exchange.has_nothing_to_come.set()
            if self._json is not None:
                self._json.stop()
            await self._end(is_broken_off=is_broken_off)
        if self.is_cut_off:
            if self._task is not None and self._task.uncancel():
                raise asyncio.CancelledError  # the server wanted it, too
            if not self._is_turned_away:
                await self._answer_in_place_of_app()
            return True
        return not self._is_session_gone

    async def _end(self, *, is_broken_off: bool) -> None:
        """What was said of it, and what it changed, is on record, unless another node decides that.

        Where it was cut off the app may still be at it: then it does not count as done. Where its node ends before it
        is answered, the next one decides as if this one had died.
        """
        try:
            if self.is_cut_off:
                self._exchange.give_up()
                return
            if is_broken_off:
                await self._exchange.let_client_go()
                if not self._use.stream:  # else it may be carried out again, and no other call keeps a part of it
                    self._states.drop()
                return
            await self._exchange.end()
            if self._is_turned_away or self._is_session_gone:
                self._states.drop()
            else:
                await self._states.end(self._on_record_as)
        finally:
            if self._json is not None:
                self._json.end()

    def _on_record_as(self) -> str:
        """The name under which its answer goes on record with what it changed."""
        return self._exchange.stream_id or (self._name.take() if self._json is not None else "")

    @property
    def noted(self) -> Call | None:
        """What is on record of it, while it is not answered. One that may be kept in part is not carried out again."""
        call = self._exchange.noted or (None if self._json is None else self._json.noted)
        return replace(call, body=b"") if call is not None and self._use.is_mixed else call

    @property
    def principal(self) -> str:
        """Who sends it, as far as the app has found out by now."""
        return self._entrance.principal

    def from_start(self) -> Receive:
        """The request for one more reader."""
        return self._body.from_start()

    def is_cancelled(self, cancelled: Container[Asked]) -> None:
        """Its client waits for nothing more of it."""
        if self._body.asked() in cancelled:
            self._exchange.has_nothing_to_come.set()

    async def _answer_in_place_of_app(self) -> None:
        """Whoever owns the session now decides what becomes of it; of this request nobody knows.

        A client that was given an id comes back with it.
        """
        if await self._exchange.let_client_go():
            return
        request_id = self._body.asked()
        if self._answer.has_begun:
            await self._answer.end(self._send, last_words(self._method, request_id))
        else:
            reason = Reason.UNREACHABLE if request_id is None else Reason.OUTCOME_UNKNOWN
            headers = self._entrance.scope["headers"]
            await refuse(self._send, reason, method=self._method, request_id=request_id, headers=headers)

    def cut_off(self) -> None:
        if not self.is_cut_off and self._task is not None:  # more than once would be taken for the server's own wish
            self._task.cancel()
        self.is_cut_off = True

    async def _serve(self, app: App) -> None:
        scope = self._states.scope = self._entrance.show()
        scope[REQUEST] = self
        try:
            with self._serving():
                await app(scope, self.receive, self.send)
        except Exception:
            if self._is_turned_away or self.is_cut_off or self._is_session_gone:  # the app misses what it did not get
                return
            if self._is_delete and self._entrance.is_its_principals():
                self._entrance.note_use()
                await self._node.sessions.close(self._session.id)
            raise
        finally:
            scope.pop(REQUEST, None)  # each holds the other
            if self._is_delete and self._entrance.is_used:
                self._session.ends_as = "ended"

    def _serving(self) -> Serving:
        """What a server keeps is for those that ask it something."""
        if self._method != "POST":
            return Serving(self._node, self._entrance.scope, self._session.id)
        return Serving(self._node, self._entrance.scope, self._session.id, self._use, self._states)

    async def receive(self) -> Message:
        if self._is_turned_away:
            return _DISCONNECT
        if self._body.is_whole and self._is_at_endpoint and self._method == "POST":
            return await self._hear_of_leaving()
        message = await (
            self._receive_answer() if self._session.incarnation and not self._is_too_large else self._body.receive()
        )
        if message["type"] == "http.request":
            await self._check()
            await self._guard(message.get("body", b""))
            if self._body.is_whole and self._body.is_batch:
                self._use.refusal = _NO_STATE_IN_BATCHES
            if self._handles.are_there and self._body.is_whole and self._entrance.is_its_principals():
                await self._bring_handles()
            if not self._is_noted and self._body.is_whole and has_transactional_tools():
                await self._note_ahead()
            # What is on record before it is carried out has no need of a second note.
            if self._json is not None and self._body.is_whole and not self._is_turned_away and not self._use.stream:
                self._json.begin()
        return _DISCONNECT if self._is_turned_away else message

    async def _hear_of_leaving(self) -> Message:
        """A client that leaves cancels nothing in this era, as long as it may come back for anything."""
        await self._exchange.has_nothing_to_come.wait()
        while not self._is_over and (await self._body.receive())["type"] != "http.disconnect":
            pass
        return _DISCONNECT

    async def _guard(self, piece: bytes) -> None:
        """The app gets no whole body that has another's handle in it. Strangers are turned away as such."""
        found = self._handles.found_in(piece)
        if not found or self._is_turned_away:
            return
        principal = principal_of(self._entrance.scope) or self._session.principal
        if self._session.principal not in (principal, NOBODY):
            return
        anothers = self._handles.anothers(found, principal)
        if anothers is None:
            return
        self._is_turned_away = True
        if not self._answer.has_begun:
            scope, message, is_posted = self._entrance.scope, self._body.message(), self._session.is_in_query
            await refuse_handle(self._send, scope, Reason.PRINCIPAL, message, anothers.text, is_posted=is_posted)

    async def _bring_handles(self) -> None:
        try:
            await self._handles.bring()
        except StoreUnavailable:
            await self._ask_to_come_again()

    async def _note_ahead(self) -> None:
        """A call that may be carried out again for what it does not do: it is on record before the app has it all."""
        self._is_noted = True
        if self._is_turned_away or not self._body.holds(*_CALL):
            return
        message = self._body.message()
        is_call = jsonrpc.text_in(message, "method") == "tools/call" and jsonrpc.id_of(message) is not None
        if is_call and is_transactional(jsonrpc.text_in(message, "params", "name")):
            self._use.stream = await self._exchange.note_ahead()

    async def _receive_answer(self) -> Message:
        """The body, whole: an answer to what the server asked names it as the app does (`mooring.core.questions`)."""
        body, more = bytearray(), True
        while more:
            message = await self._body.receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > _ANSWER_LIMIT_BYTES:
                self._is_too_large = True  # what is as large as that is no answer to a question
                return {**message, "body": bytes(body)}
        restored = questions.restored(bytes(body), self._session.incarnation)
        if restored is None and self._session.asks_unnamed:
            restored = bytes(body)
        if restored is None:  # to a question that nobody asks any more
            return await self._drop_answer()
        if self._json is not None and not self._is_last and await self._is_settled(self._json):
            return _DISCONNECT
        return {"type": "http.request", "body": restored, "more_body": False}

    async def _is_settled(self, call: JsonCall) -> bool:
        """Whether it was sent before, to a node that died, and was told what became of it."""
        await self._check()
        if self._is_turned_away or not self._entrance.is_its_principals() or self._app is None:
            return self._is_turned_away
        try:
            outcome = await patiently(self._node, partial(call.outcome, self._app, self.as_it_came))
            if call.again:
                self._is_noted, self._use.stream = True, call.again
                self._name.give(call.again)
                self._exchange.is_again(call.again)
        except (StoreUnavailable, Fenced):
            await self._ask_to_come_again()
            return True
        if outcome is not None:
            self._is_turned_away = True
            headers = [(SESSION_HEADER, self._session.id.encode())]
            await respond(self._send, 200, outcome, b"application/json", headers)
        return outcome is not None

    async def _ask_to_come_again(self) -> None:
        """Nobody knows what is needed for it: the app gets none of it."""
        self._is_turned_away = True
        if not self._answer.has_begun:
            await refuse(self._send, Reason.UNREACHABLE, request_id=self._body.asked())

    async def _drop_answer(self) -> Message:
        """Take it and do nothing with it. A stranger hears what the app says to strangers."""
        await self._check()
        if self._is_turned_away:
            return _DISCONNECT
        if not self._entrance.is_its_principals():
            return {"type": "http.request", "body": _ANSWER_TO_NOBODY, "more_body": False}
        self._is_turned_away = True
        await respond(self._send, 202, b"")
        return _DISCONNECT

    async def send(self, message: Message) -> None:
        if self._node.keeper.has_lapsed:
            await self._is_still_ours()
        if message["type"] == "http.response.start" and not self._is_turned_away and not self.is_cut_off:
            message = await self._start(message)
        if self._is_turned_away or self.is_cut_off or self._is_session_gone:
            return
        if self._exchange.is_streaming:
            await self._exchange.take(message)
        elif message["type"] == "http.response.start" and self._is_logged and can_be_logged(message):
            if self._json is not None:
                self._json.leave_to_stream()
            await self._exchange.begin(message)
        else:
            is_call = self._method == "POST"
            await (
                self._states.pass_on(message, self._let_out, self._on_record_as) if is_call else self._let_out(message)
            )

    async def _is_still_ours(self) -> bool:
        """Whether what the app says may get out, also where this node was paused until now; else it is cut off."""
        if self._node.keeper.has_lapsed and not await self._node.keeper.regain_in_time():
            self.cut_off()
            self._session.state.cut_off(self._use)  # the session may stay here after all
        return not self.is_cut_off

    async def _let_out(self, message: Message) -> None:
        """This leaves, in an answer that is not logged."""
        if self._json is not None:
            self._json.take(message)
        if self._questions is not None:
            message = self._questions.named(message)
        await self._answer.pass_on(message, self._send)

    def let_in(self, principal: str) -> None:
        self._entrance.let_in(principal)

    async def turn_away(self) -> None:
        self._is_turned_away = True
        note_refusal(self._node, self._session.id)
        if not self._answer.has_begun:  # else what has left is cut off
            await refuse(self._send, Reason.PRINCIPAL)

    async def _check(self) -> None:
        """Whether the app may have the next piece of the body."""
        if not await self._entrance.may_read_on():
            await self.turn_away()

    async def _start(self, message: Message) -> Message:
        status: int = message["status"]
        if status == 404 and self._has_been_dropped():
            await self._node.sessions.let_go(self._session)
            self._is_session_gone = not self._body.is_lost  # else that is the answer, and the next request opens it
            if self._is_session_gone:
                return message
        is_its_principals = self._entrance.is_its_principals()
        if not is_its_principals:
            if not await self._entrance.may_answer(status):
                await self.turn_away()
            if self._is_turned_away:
                return message
            is_its_principals = self._entrance.is_its_principals()  # it may have been taken over
        if is_its_principals:
            self._entrance.note_use()
            if self._method == "POST" and status < 300:
                await remember(self._node, self._session, self._body)
                if status == 202:
                    heed_cancellation(self._session, self._body)
            if self._ends_session(status):
                await self._node.sessions.close(self._session.id)
        if self._session.is_mapped:
            message = {
                **message,
                "headers": replaced(message.get("headers", []), SESSION_HEADER, self._session.id.encode()),
            }
        return message

    def _has_been_dropped(self) -> bool:
        """Whether a 404 says that the app has dropped the session by itself: it is opened again for this very request.

        Whoever sent it: that the principal is the right one is found out then.
        """
        if self._is_delete or self._is_last or not self._is_at_endpoint or not self._node.may_revive(self._session):
            return False
        if self._session.is_mapped:
            return self._entrance.is_its_principals()
        is_another = self._node.sessions.find(self._session.id) is not self._session
        return is_another or self._session.is_told_to_end or inner_ids.has_ended(self._session.id)

    def _ends_session(self, status: int) -> bool:
        """Whether this answer says that the app no longer has the session.

        A DELETE ends it even if the app failed to (5xx), but not where it may not (401, 403, 405). A 404 on another
        request ends it where we cannot see the app's sessions end by themselves.
        """
        if self._is_delete:
            return status < 400 or status == 404 or status >= 500
        return status == 404 and self._session.is_mapped and self._is_at_endpoint
