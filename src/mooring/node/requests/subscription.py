"""A stream of `subscriptions/listen` (specification 2026-07-28), which its node can end so that none takes it for lost.

    the node ends it                     the client                             the app
    -----------------------------------  -------------------------------------  ----------------------
    before the answer began              gets the app's answer first, then      goes on until then
    between two events                   gets the result that ends the stream   hears that it has left
    within an event                      gets the rest of the event first       the same
    whose answer is no event stream      gets that answer                       ends by itself

There is no resumption: a client that hears this result listens again, on another node, and fetches what it listens for.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final

from mooring.asgi import Message, Receive, Send, is_open_event_stream
from mooring.core import jsonrpc, sse
from mooring.processes.tasks import end

METHOD: Final = b"subscriptions/listen"
"""As the header `Mcp-Method` has it, which every such request carries."""

_ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
_BLANK_LINE: Final = (b"\n\n", b"\r\r", b"\r\n\r\n")
_LONGEST_END: Final = 4


class Subscription:
    """
    Args:
        request_id: of the request whose answer the stream is.
    """

    def __init__(self, request_id: jsonrpc.RequestId, receive: Receive, send: Send) -> None:
        self._id = request_id
        self._receive = receive
        self._send = send
        self._in_events = False
        # The last bytes that went out: whether they end an event.
        self._tail = b"\n\n"
        self._is_due = False
        self._has_ended = asyncio.Event()
        # One at a time: a piece of the app's, or the end.
        self._turn = asyncio.Lock()

    async def end(self) -> None:
        """End it, now or as soon as what is being said is whole."""
        self._is_due = True
        async with self._turn:
            await self._end_if_due()

    async def receive(self) -> Message:
        """What the app hears of its client: that it has left, once the stream has ended."""
        if self._has_ended.is_set():
            return {"type": "http.disconnect"}
        hearing = asyncio.ensure_future(self._receive())
        ending = asyncio.ensure_future(self._has_ended.wait())
        try:
            await asyncio.wait({hearing, ending}, return_when=asyncio.FIRST_COMPLETED)
            return hearing.result() if hearing.done() else {"type": "http.disconnect"}
        finally:
            await end(hearing, ending)

    async def send(self, message: Message) -> None:
        """What the app says, up to the end."""
        async with self._turn:
            if self._has_ended.is_set():
                return
            if message["type"] == "http.response.start":
                self._in_events = is_open_event_stream(message.get("headers", []))
            body = message.get("body", b"")
            self._tail = (self._tail + body)[-_LONGEST_END:]
            await self._send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._has_ended.set()
            elif body:
                await self._end_if_due()

    async def _end_if_due(self) -> None:
        if not self._is_due or not self._in_events or self._has_ended.is_set():
            return
        if self._tail.endswith(_BLANK_LINE):
            self._has_ended.set()
            await self._send({"type": "http.response.body", "body": self._last_event(), "more_body": False})

    def _last_event(self) -> bytes:
        result = {"resultType": "complete", "_meta": {_ID_KEY: self._id}}
        return sse.encode(
            sse.SseEvent(json.dumps({"jsonrpc": "2.0", "id": self._id, "result": result}), event="message")
        )
