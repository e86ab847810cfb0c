"""A call of the modern era as most are: it names no handle, or one that is here and is everybody's, and nothing in it
is changed. So it is served here, and nobody has to be asked.

What tells that is in its headers, and in its body once that has come whole. It is served with as little as that takes:
what is made for a call elsewhere is made here once it is asked for. Where any of it is in doubt the call is for
`mooring.node.requests.modern`, which would answer this one in the same words.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable
from typing import Any, Final

from mooring.asgi import App, Message, Receive, Scope, Send
from mooring.core import jsonrpc
from mooring.core.handle_search import in_headers, is_argument, may_hold_handles, only_text
from mooring.core.handles import Handle
from mooring.core.kept_state import TOO_LATE
from mooring.core.request import INTERNAL_HEADERS, SESSION_HEADER, VERSION_HEADER, RequestFacts, is_modern
from mooring.errors import NoHandle
from mooring.node.current import Serving
from mooring.node.node import Node
from mooring.node.requests.bodies import WantedBody
from mooring.node.requests.call_states import CallStates
from mooring.node.requests.cut_off_call import CutOffCall
from mooring.node.requests.deciding import Decisions
from mooring.node.requests.keep_alive import KeptAlive
from mooring.node.requests.no_session import start_of_no_session
from mooring.node.requests.subscription import METHOD as LISTEN

_ONE_AT_A_TIME: Final = threading.Lock()
_SAYS_MORE: Final = frozenset({b"origin", b"content-encoding"})
"""An answer to a page may get headers of ours, and a body that is compressed cannot be searched."""


class PlainCalls:
    """Those of one node."""

    def __init__(self, node: Node, app: App) -> None:
        self._node = node
        self._app = app
        self._decisions = Decisions(node)
        settings = node.settings
        self._most_bytes = settings.handle_search_bytes
        # Not where answers are read here, or a key says where a call goes.
        self._are_served = not (
            settings.placement_key or settings.mark_handle_params or node.wrap_rules or node.wrapped_members
        )

    def may_be_one(self, scope: Scope) -> bool:
        """Whether a request may be such a call, by all but its body and the handles in its headers."""
        if scope["method"] != "POST" or not self._are_served or not self._node.has_joined:
            return False
        if scope.get("query_string"):  # it may name a session of HTTP+SSE
            return False
        has_version = False
        for name, value in scope["headers"]:
            if name[:1] == b"m":
                if name == VERSION_HEADER:
                    if not is_modern(value):
                        return False
                    has_version = True
                elif name == SESSION_HEADER or name in INTERNAL_HEADERS or value == LISTEN:
                    return False
            elif name in _SAYS_MORE:
                return False
        return has_version and self._node.endpoint_of(scope) is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """Have the app answer it; where it is none, returns what brings it from its beginning."""
        node, body = self._node, WantedBody(receive, self._most_bytes)
        await body.read()
        if body.whole is None or jsonrpc.begins_batch(body.whole):
            return body.receive
        handle = None
        named = in_headers(scope["headers"])
        if named or may_hold_handles(body.whole):
            handle = self._named_here(named, body.whole)
            if handle is None:
                return body.receive
        elif not self._decisions.serves_what_is_free:
            return body.receive
        node.tally.served += 1
        with node.open_calls.call(), KeptAlive(send, node.settings.stream_comment_seconds) as answer:
            call = _Call(node, scope, body.whole, answer.send)
            if handle is None:
                await call.serve(self._app, body.receive)
            else:
                await self._serve_with(handle, call, body.receive)
        return None

    def _named_here(self, named: list[str], body: bytes) -> Handle | None:
        """The one that a call names, where it names no other, and that one is everybody's and served here at sight.

        Args:
            named: what its headers have for handles.
        """
        text = only_text(body)
        handle = None if text is None else self._node.handles.read(text)
        if handle is None or handle.is_owned or handle.is_wrapped or handle.shard not in self._node.membership.shards:
            return None
        facts = RequestFacts("POST", modern=True, handle=handle.text)
        is_here = named in ([], [handle.text]) and self._decisions.is_served_at_sight(facts)
        return handle if is_here and is_argument(handle.text, body) else None  # a body is read last: it may be large

    async def _serve_with(self, handle: Handle, call: _Call, receive: Receive) -> None:
        """Its handle is in use meanwhile, and stays here; where it turns out to be another node's, the call is over."""
        node = self._node
        cut = CutOffCall(node, call.scope, call, handle, call.send_on)
        call.send_on = cut.send
        in_use = node.sessions.handles.using([handle.text], cut.cut_off)
        with node.arrivals.one_in(handle.shard):
            in_use.begin()
            try:
                await call.serve(self._app, receive, cut)
            finally:
                in_use.end()


class _Call:
    """
    Attributes:
        scope: as the app gets it.
        send_on: what its answer goes on by.
    """

    __slots__ = ("_body", "_is_over", "_node", "_start", "_states", "scope", "send_on")

    def __init__(self, node: Node, scope: Scope, body: bytes, send: Send) -> None:
        self.scope: Scope = {**scope}
        self.send_on = send
        self._node = node
        self._body = body
        self._start: Message | None = None
        self._is_over = False
        # What it changes of handles, made once it is asked for.
        self._states: CallStates | None = None

    async def serve(self, app: App, receive: Receive, cut: CutOffCall | None = None) -> None:
        """Have the app answer it, until it is cut off: its client hears of that before what it changed is kept."""
        with Serving(self._node, self.scope, None, None, self):
            try:
                work = app(self.scope, receive, self.send)
                await (work if cut is None else cut.serve(work))
            finally:
                self._is_over = True
                if self._states is not None:
                    await self._states.end()

    def send(self, message: Message) -> Awaitable[None]:
        """Its answer."""
        if message["type"] == "http.response.start":
            message = self._start = start_of_no_session(message)
        return self.send_on(message) if self._states is None else self._states.pass_on(message, self.send_on)

    def part(self, text: str) -> dict[str, Any]:
        """See `CallStates`."""
        with _ONE_AT_A_TIME:  # a tool may ask in several threads
            if self._states is None:
                if self._is_over:
                    raise NoHandle(TOO_LATE)
                self._states = CallStates(self._node, self, self.scope, start=self._start)
        return self._states.part(text)

    def message(self) -> jsonrpc.Message:
        return jsonrpc.read_message(self._body) or {}

    def asked(self) -> jsonrpc.Asked:
        return jsonrpc.id_of(self.message())
