"""A call of the modern era as the app gets it, and its answer on the way back.

the app gets                                       the client gets
-------------------------------------------------  ---------------------------------------------------------------
no session id, of whomever                         none either
its own ids in the place of handles that wrap them handles in the place of its own ids (`wrapped_answer`)
no byte, where a handle is another principal's     the same as for a handle that never was
what is kept of handles (`mooring.state`)          its answer once that is on record (`call_states`)
no time, where another node has its handles        that nobody knows; and nothing before the lease is known to last
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from mooring.asgi import App, Receive, Scope, Send, request_header, without
from mooring.core import jsonrpc
from mooring.core.handle_search import NAME_HEADER, decoded, unwrapped_headers
from mooring.core.handles import Handle, spellings
from mooring.core.loosening import Loosening
from mooring.core.marking import Marking
from mooring.core.unread_json import PassingSearch
from mooring.core.unwrapping import unwrapped
from mooring.core.wrapping import TASK, Wrapping
from mooring.node.current import Serving
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.bodies import changed_as_it_passes, in_place_of
from mooring.node.requests.call_states import CallStates
from mooring.node.requests.committing import ReadBody
from mooring.node.requests.cut_off_call import CutOffCall
from mooring.node.requests.guarding import GuardedCall
from mooring.node.requests.kept_handles import may_come
from mooring.node.requests.no_session import naming_no_session, of_no_session
from mooring.node.requests.principal import NOBODY, principal_of
from mooring.node.requests.subscription import Subscription
from mooring.node.requests.wrapped_answer import WrappedAnswer

METHOD_HEADER: Final = b"mcp-method"

_OF_TASKS: Final = frozenset({"tasks/get", "tasks/result", "subscriptions/listen"})

NONE: Final[Mapping[Handle, LocalSession | None]] = {}


class ModernCall:
    """
    Args:
        body: None where it was too large to be held.
        request: the same, to be read.
        handles: those that it names, in its order.
        stream: of changes, where it asks for one.
        unheard: others in it, by which it is not brought anywhere.
        is_searched: whether these are all.
    """

    __slots__ = ("_app", "_body", "_handles", "_is_searched", "_node", "_request", "_scope", "_stream", "_unheard")

    def __init__(
        self,
        node: Node,
        app: App,
        scope: Scope,
        body: bytes | None,
        request: ReadBody,
        handles: list[Handle],
        *,
        stream: Subscription | None,
        unheard: list[Handle],
        is_searched: bool,
    ) -> None:
        self._node = node
        self._app = app
        self._scope = scope
        self._body = body
        self._request = request
        self._handles = handles
        self._stream = stream
        self._unheard = unheard
        self._is_searched = is_searched

    async def serve(
        self, receive: Receive, send: Send, revived: Mapping[Handle, LocalSession | None] = NONE
    ) -> Handle | None:
        """Have the app answer; returns the handle that is another's, where that kept the app from it.

        Args:
            receive: the call from its beginning.
            revived: what these stand for is here from this call on, if whoever asks may use it, with what is kept of
                them.
        """
        node = self._node
        node.tally.served += 1
        scope: Scope = {**of_no_session(self._scope)}
        own_ids = self._own_ids() if self._handles or self._unheard else {}
        if own_ids:
            scope, receive = self._unwrapped(scope, receive, own_ids)
        is_cut_off = bool(self._handles) and self._stream is None
        cut = CutOffCall(node, self._scope, self._request, self._handles[0], send) if is_cut_off else None
        send = naming_no_session(send if cut is None else cut.send)
        fields = self._wrapped_fields() if node.wrap_rules else ()
        lists = (node.settings.mark_handle_params or bool(node.wrap_rules)) and "tools/list" in self._methods()
        marks = node.settings.mark_handle_params and lists
        loosens = bool(node.wrap_rules) and lists
        wraps = bool(fields or own_ids or node.wrapped_members)
        if wraps or marks or loosens:  # the answer is read here
            scope["headers"] = without(scope["headers"], b"accept-encoding")
        if wraps:
            send = WrappedAnswer(lambda: self._wrapping(scope, fields, own_ids), send, node.log_once.say).send
        if marks:
            send = WrappedAnswer(lambda: Marking(node.settings.handle_names), send, node.log_once.say).send
        if loosens:
            send = WrappedAnswer(lambda: Loosening(node.wrap_rules), send, node.log_once.say).send
        states = CallStates(node, self._request, scope)
        send = partial(states.pass_on, send=send)
        with Serving(node, scope, None, None, None if self._is_batch() else states):
            try:
                if cut is not None:
                    return await cut.serve(self._serve_with_handles(scope, receive, send, revived, cut))
                if self._handles or self._unheard or not self._is_searched:
                    return await self._serve_with_handles(scope, receive, send, revived)
                await self._app(scope, receive, send)
            finally:
                await states.end()
        return None

    async def _serve_with_handles(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        revived: Mapping[Handle, LocalSession | None],
        cut: CutOffCall | None = None,
    ) -> Handle | None:
        """They are in use meanwhile, if they are the caller's: the app has no byte of the call before that is known."""
        node, handles = self._node, self._node.sessions.handles
        named_or_not = (*self._handles, *self._unheard)
        owned = [handle for handle in named_or_not if handle.is_owned]  # wherever it is: its author may keep it
        named = [handle.text for handle in self._handles]
        when_fenced = self._end_stream if cut is None else cut.cut_off
        in_use = handles.using(named, when_fenced, listens=self._stream is not None)

        def let_in(principal: str) -> bool:
            if self._handles and self._handles[0].shard not in node.membership.shards:
                if cut is not None:
                    cut.let_go()
                    return False
                self._end_stream()
            for handle, kept in revived.items():
                if may_come(node, handle, kept):
                    handles.add(handle, principal if handle.is_owned else NOBODY, kept)
            in_use.begin()
            return True

        search = None if self._is_searched else PassingSearch()
        guarded = GuardedCall(node, owned, scope, receive, send, let_in, search)
        try:
            if not owned and search is None:
                if let_in(NOBODY):
                    await self._app(scope, receive, send)
            else:
                await guarded.serve(self._app)
        finally:
            in_use.end()
        return guarded.refused

    def _end_stream(self) -> None:
        """Whoever listens does so again, where its handles are by then."""
        if self._stream is not None:
            self._node.sessions.run_errand(self._stream.end())

    def _own_ids(self) -> dict[str, str]:
        """What the server knows of what it names as. It may listen to what other nodes have, where changes are told
        of on all: of the same id at two nodes the one here counts."""
        here = [one for one in self._handles if self._node.holds(one)]
        named = (*self._handles, *self._unheard) if self._stream is not None else ()
        there = [one for one in named if self._node.knows_elsewhere(one)]
        return {one.text: one.own_id for one in (*there, *here) if one.is_wrapped}

    def _unwrapped(self, scope: Scope, receive: Receive, own_ids: Mapping[str, str]) -> tuple[Scope, Receive]:
        """The call with the server's own ids in it. One that is too large to be held names them in its headers."""
        body = None if self._body is None else unwrapped(self._body, own_ids)
        headers = unwrapped_headers(scope["headers"], own_ids, None if body is None else len(body))
        if body is None:
            longest = max(len(spelled) for handle in own_ids for spelled in spellings(handle))
            changed = changed_as_it_passes(receive, partial(unwrapped, own_ids=own_ids), longest)
        else:
            changed = in_place_of(receive, body)
        return {**scope, "headers": headers}, changed

    def _wrapped_fields(self) -> tuple[str, ...]:
        """Where the result of this call has ids of the server's own.

        The outcome of a task may be any tool's: nobody knows which, so that a rule without a field says nothing of it.
        """
        if TASK in self._node.wrapped_members and not _OF_TASKS.isdisjoint(self._methods()):
            return tuple(rule.field for rule in self._node.wrap_rules if rule.field)
        named = request_header(self._scope["headers"], NAME_HEADER)
        tools = {decoded(named)} if named is not None else self._said("params", "name")
        return tuple(rule.field for rule in self._node.wrap_rules if rule.mint in tools)

    def _methods(self) -> set[str]:
        """What is asked. Calls of the legacy era do not say it in a header."""
        said = request_header(self._scope["headers"], METHOD_HEADER)
        return self._said("method") if said is None else {said.decode("latin-1")}

    def _said(self, *path: str) -> set[str]:
        """What stands there in the message, or in those of a batch."""
        messages = jsonrpc.read_messages(self._body or b"") if self._is_batch() else [self._request.message()]
        return {jsonrpc.text_in(message, *path) for message in messages}

    def _is_batch(self) -> bool:
        """Whether there will be several answers: none of them can go on record with what all of its calls change."""
        return self._body is not None and jsonrpc.begins_batch(self._body)

    def _wrapping(self, scope: Scope, fields: tuple[str, ...], own_ids: Mapping[str, str]) -> Wrapping:
        """What becomes of the answer, once the app has named the user in the scope."""
        shard = next((one.shard for one in self._handles if one.text in own_ids), None) or self._node.next_shard()
        principal = principal_of(scope)
        return Wrapping(
            lambda own_id: self._node.handles.wrap(shard, own_id, principal),
            fields,
            {own_id: handle for handle, own_id in own_ids.items()},
            self._node.wrapped_members,
            self._tell,
        )

    def _tell(self, why: str) -> None:
        self._node.log_once.say(
            "an id of the server's own is not wrapped, so that calls with it reach any node (handles): %s", why
        )
