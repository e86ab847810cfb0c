"""A call with handles whose node is no longer known to have them: nobody knows what becomes of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from mooring.asgi import Message, Scope, Send
from mooring.core.handles import Handle
from mooring.core.routing import Reason
from mooring.node.node import Node
from mooring.node.passing import PassingAnswer
from mooring.node.requests.answers import last_words
from mooring.node.requests.committing import ReadBody
from mooring.node.requests.cutting import CutOff
from mooring.node.requests.handle_answers import refuse_handle

_Served = TypeVar("_Served")


class CutOffCall:
    """What ends a call with handles, should they turn out to be another node's while it runs.

    Args:
        scope, request: of the call, to answer it in the app's place.
        handle: that it names first.
    """

    __slots__ = ("_answer", "_cut", "_handle", "_node", "_reason", "_request", "_scope", "_send")

    def __init__(self, node: Node, scope: Scope, request: ReadBody, handle: Handle, send: Send) -> None:
        self._node = node
        self._scope = scope
        self._handle = handle
        self._request = request
        self._send = send
        self._answer = PassingAnswer()
        self._cut = CutOff()
        self._reason = Reason.OUTCOME_UNKNOWN

    async def serve(self, work: Awaitable[_Served]) -> _Served | None:
        """Do this until it is done, or cut off; then its client hears that nobody knows."""
        served = await self._cut.serve(work)
        if not self._cut.has_come:
            return served
        if self._answer.has_begun:
            await self._answer.end(self._send, last_words("POST", self._request.asked()))
        else:
            message, asked = self._request.message(), self._request.asked()
            await refuse_handle(self._send, self._scope, self._reason, message, self._handle.text, asked=asked)
        return None

    def let_go(self) -> None:
        """They are another node's by now, and the app has read nothing of it."""
        self._reason = Reason.UNREACHABLE
        self.cut_off()

    def cut_off(self) -> None:
        self._cut.cut()

    async def send(self, message: Message) -> None:
        if self._node.keeper.has_lapsed and not await self._node.keeper.regain_in_time():
            self.cut_off()
        if not self._cut.has_come:
            await self._answer.pass_on(message, self._send)
