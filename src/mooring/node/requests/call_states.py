"""All that one call may change of what is kept: the state of its session, if it is on one, and that of handles.

Each is committed by itself, those of handles first. Where one of them cannot be kept, an error is the call's answer,
and the others are kept with that, as they are when a tool raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mooring.asgi import Message, Scope, Send
from mooring.core.handles import Handle
from mooring.core.kept_state import TOO_LATE, StateUse
from mooring.errors import NoHandle
from mooring.node.node import Node
from mooring.node.requests.committing import Committing, ReadBody
from mooring.node.requests.principal import NOBODY, principal_of
from mooring.node.requests.withholding import HeldAnswer

_NO_SUCH = (
    "there is no such handle here: it was not made by mooring.new_handle(), has ended, or is not this caller's. State "
    "is kept of a handle from the call on that mints it"
)
_FOR_SESSION_ALONE = (
    "a transactional tool changes nothing but its session's state, since it may be carried out again: take "
    "@mooring.transactional off a tool that changes the state of a handle"
)


class CallStates:
    """Made for each call, and cheap as long as that asks for nothing: no two of its parts hold each other.

    Args:
        body: of the request.
        scope: as the app has it, which names the user there.
        own: what it changes of its session; None where it is on none.
        principal: of that session.
        start: of its answer, where that has begun.
    """

    __slots__ = ("_body", "_held", "_is_over", "_node", "_of_handles", "_own", "_principal", "_start", "scope")

    def __init__(
        self,
        node: Node,
        body: ReadBody,
        scope: Scope,
        own: Committing | None = None,
        principal: str = NOBODY,
        start: Message | None = None,
    ) -> None:
        self.scope = scope
        self._node = node
        self._body = body
        self._own = own
        self._principal = principal
        self._is_over = False
        # Those of handles that it has asked for, by handle.
        self._of_handles: dict[str, _HandleCommitting] = {}
        # Of an answer that is not logged: its beginning, and what holds it once anything was asked for.
        self._start = start
        self._held: HeldAnswer | None = None

    def _is_used(self) -> bool:
        """Whether it has asked for anything that is kept, and is not answered."""
        if self._own is not None and self._own.is_used:
            return True
        return any(each.is_used for each in self._of_handles.values())

    def pass_on(self, message: Message, send: Send, name: Callable[[], str] = str) -> Awaitable[None]:
        """Send on what may leave of an answer that is not logged, once the app has sent this.

        One in JSON that has begun before its call asked for anything is held in a session. Of any other it is broken
        off where its end cannot be kept: most calls ask for nothing.

        Args:
            name: under which the answer goes on record, where it has one there.
        """
        if not self._of_handles and self._own is None and self._held is None:
            self._start = message if message["type"] == "http.response.start" else self._start
            return send(message)
        return self._hold(message, send, name)

    async def _hold(self, message: Message, send: Send, name: Callable[[], str]) -> None:
        if self._held is None:
            self._held = HeldAnswer(
                lambda answer: self.answer(answer, name()), self._so_far, self._is_used, self._start
            )
        for part in await self._held.pass_on(message):
            await send(part)

    def part(self, text: str) -> dict[str, Any]:
        """What is kept of a handle, to read and to change.

        Raises:
            NoHandle: it is none that is here, or another principal's; or this call gets none, or was answered.
            StoreUnavailable: what is on record cannot be read.
        """
        if self._is_over:
            raise NoHandle(TOO_LATE)
        known = self._of_handles.get(text)
        if known is None:
            known = self._of_handles.setdefault(text, self._begin(text))
        return known.use.part()

    def _begin(self, text: str) -> _HandleCommitting:
        use = None if self._own is None else self._own.use
        if use is not None and (use.refusal or use.stream):
            raise NoHandle(use.refusal or _FOR_SESSION_ALONE)
        handle = self._node.handles.read(text)
        if handle is None or handle.is_wrapped or not self._node.handles.may_use(handle, self._whose(handle)):
            raise NoHandle(_NO_SUCH)
        session = self._node.state_of_handle(text)
        if session is None:
            raise NoHandle(_NO_SUCH)
        return _HandleCommitting(self._node, session, StateUse(session.state), self._body)

    def _whose(self, handle: Handle) -> str:
        return (principal_of(self.scope) or self._principal) if handle.is_owned else NOBODY

    async def answer(self, answer: str, stream: str) -> str | None:
        """What may leave, once all is on record: the answer, an error in its place, or None where nothing may."""
        self._is_over = True
        for each in tuple(self._of_handles.values()):
            answer = await each.answer(answer, "") or answer
        return answer if self._own is None else await self._own.answer(answer, stream)

    async def end(self, name: Callable[[], str] = str) -> None:
        """The request is over, and was not cut off. What it changed without an answer is on record as well.

        Args:
            name: under which that goes on record.
        """
        self._is_over = True
        for each in self._all():
            await each.end(name)

    def drop(self) -> None:
        """The request is over, and its changes are nobody's: the app has not served it."""
        self._is_over = True
        for each in self._all():
            each.drop()

    async def _so_far(self) -> bool:
        return all([await each.so_far() for each in self._all() if each.is_used])

    def _all(self) -> tuple[Committing, ...]:
        own = () if self._own is None else (self._own,)
        return (*self._of_handles.values(), *own)


class _HandleCommitting(Committing):
    """Of the state of a handle: no call is carried out again for it, and none of its answers is on record."""

    _of = "its handle"

    def _in_place_of_answer(self, answer: str) -> str:
        return self._refused(
            "What this call changed in the state of its handle is dropped: the handle moved to another process while "
            "the call ran. Try again.",
            answer,
        )

    def _result(self, text: str) -> dict[str, Any]:
        return {"resultType": "complete", **super()._result(text)}
