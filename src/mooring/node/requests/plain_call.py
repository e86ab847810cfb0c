"""A call of the modern era as most are: it names no handle, nothing in it is changed, and any node may serve it.

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
from mooring.core.handle_search import may_be_in_header, may_hold_handles
from mooring.core.kept_state import TOO_LATE
from mooring.core.request import INTERNAL_HEADERS, SESSION_HEADER, VERSION_HEADER, RequestFacts, is_modern
from mooring.errors import NoHandle
from mooring.node.current import Serving
from mooring.node.node import Node
from mooring.node.requests.bodies import WantedBody
from mooring.node.requests.call_states import CallStates
from mooring.node.requests.deciding import Decisions
from mooring.node.requests.keep_alive import KeptAlive, begins_stream
from mooring.node.requests.no_session import start_of_no_session
from mooring.node.requests.subscription import METHOD as LISTEN

_ONE_AT_A_TIME: Final = threading.Lock()
_FREE: Final = RequestFacts("POST", modern=True)
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
        """Whether a request may be such a call, by all but its body."""
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
                elif name == SESSION_HEADER or name in INTERNAL_HEADERS or value == LISTEN or may_be_in_header(value):
                    return False
            elif name in _SAYS_MORE:
                return False
        return has_version and self._node.endpoint_of(scope) is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> Receive | None:
        """Have the app answer it; where it is none, returns what brings it from its beginning."""
        node, body = self._node, WantedBody(receive, self._most_bytes)
        await body.read()
        if body.whole is None or not self._is_one(body.whole):
            return body.receive
        node.tally.served += 1
        call = _Call(node, scope, body.whole, send)
        with node.open_calls.call(), Serving(node, call.scope, None, None, call):
            try:
                await self._app(call.scope, body.receive, call.send)
            finally:
                await call.end()
        return None

    def _is_one(self, body: bytes) -> bool:
        is_plain = not may_hold_handles(body) and not jsonrpc.begins_batch(body)
        return is_plain and self._decisions.is_served_anywhere(_FREE)


class _Call:
    """
    Attributes:
        scope: as the app gets it.
    """

    __slots__ = (
        "_body",
        "_is_over",
        "_kept_alive",
        "_node",
        "_send",
        "_start",
        "_states",
        "scope",
    )

    def __init__(self, node: Node, scope: Scope, body: bytes, send: Send) -> None:
        self.scope: Scope = {**scope}
        self._node = node
        self._body = body
        self._send = send
        self._start: Message | None = None
        self._is_over = False
        # Made once they are asked for: what it changes of handles, and comments on its stream.
        self._states: CallStates | None = None
        self._kept_alive: KeptAlive | None = None

    def send(self, message: Message) -> Awaitable[None]:
        """Its answer."""
        if message["type"] == "http.response.start":
            message = self._begin(message)
        return self._send(message) if self._states is None else self._states.pass_on(message, self._send)

    def _begin(self, start: Message) -> Message:
        if begins_stream(start):
            self._kept_alive = KeptAlive(self._send, self._node.settings.stream_comment_seconds)
            self._send = self._kept_alive.send
        self._start = start_of_no_session(start)
        return self._start

    def part(self, text: str) -> dict[str, Any]:
        """See `CallStates`."""
        with _ONE_AT_A_TIME:  # a tool may ask in several threads
            if self._states is None:
                if self._is_over:
                    raise NoHandle(TOO_LATE)
                self._states = CallStates(self._node, self, self.scope, start=self._start)
        return self._states.part(text)

    async def end(self) -> None:
        """It is over, and was not cut off."""
        self._is_over = True
        if self._kept_alive is not None:
            self._kept_alive.stop()
        if self._states is not None:
            await self._states.end()

    def message(self) -> jsonrpc.Message:
        return jsonrpc.read_message(self._body) or {}

    def asked(self) -> jsonrpc.Asked:
        return jsonrpc.id_of(self.message())
