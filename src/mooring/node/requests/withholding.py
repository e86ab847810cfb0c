"""An answer that is held until what its call has changed is on record; for answers that are not logged.

    the answer                              what leaves before the commit
    --------------------------------------  ---------------------------------------------------------------------------
    in JSON                                 nothing
    in an event stream                      what comes before the answer itself
    in a stream that the app compresses     nothing that may tell of what is not on record: each piece is preceded by a
                                            commit of what the call has changed so far

Until the call has asked for anything that is kept, all of it leaves as it comes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from mooring.asgi import EVENT_STREAM, Message, is_compressed, media_type, replaced, without
from mooring.core.answer_reader import AnswerReader
from mooring.core.sse import encode, message_event


class HeldAnswer:
    """
    Args:
        commit: writes what the call changed, with its answer; returns what may leave: the answer, an error in its
            place, or None where nothing may.
        commit_so_far: the same of a call that goes on; returns whether anything more of it may leave.
        is_used: whether the call has asked for anything that is kept.
        start: its beginning, where that has left.
    """

    def __init__(
        self,
        commit: Callable[[str], Awaitable[str | None]],
        commit_so_far: Callable[[], Awaitable[bool]],
        is_used: Callable[[], bool],
        start: Message | None = None,
    ) -> None:
        self._commit = commit
        self._commit_so_far = commit_so_far
        self._is_used = is_used
        # Its beginning and its body, while they are held; what finds the answer in a stream, and whether it did;
        # whether it can; and whether nothing more of it leaves.
        self._start: Message | None = None
        self._held = bytearray()
        self._reader: AnswerReader | None = None
        self._is_found = False
        self._is_unreadable = False
        self._is_replaced = False
        if start is not None:
            self._begin(start)

    async def pass_on(self, message: Message) -> list[Message]:
        """What leaves of it, once the app has sent this."""
        if message["type"] == "http.response.start":
            self._begin(message)
            self._start = message if self._reader is None else None  # until its whole body is here
            if self._start is not None:
                return []
            return [{**message, "headers": without(message.get("headers", []), b"content-length")}]
        if self._is_replaced:
            return []
        if message["type"] != "http.response.body":
            return [*self._let_go(), message]
        if self._reader is not None:
            return [await (self._after_the_last(message) if self._is_unreadable else self._in_stream(message))]
        if not self._held and not self._is_used():
            return [*self._let_go(), message]
        if self._start is None:
            return await self._rest(message)
        self._held += message.get("body", b"")
        return [] if message.get("more_body", False) else await self._whole(self._start, bytes(self._held))

    def _begin(self, start: Message) -> None:
        headers = start.get("headers", [])
        if media_type(headers) == EVENT_STREAM:
            self._reader = AnswerReader(in_events=True)
            self._is_unreadable = is_compressed(headers)

    def _let_go(self) -> list[Message]:
        start, self._start = self._start, None
        return [] if start is None else [start]

    async def _in_stream(self, message: Message) -> Message:
        if self._reader is None or self._is_found or not (self._held or self._is_used()):
            return message
        self._held += message.get("body", b"")
        is_found = self._reader.feed(message.get("body", b""))
        if not is_found and self._reader.is_in_event and message.get("more_body", False):
            return {**message, "body": b""}  # it may be the answer
        message = {**message, "body": bytes(self._held)}
        self._held.clear()
        if not is_found:
            return message
        self._is_found = True
        answer = json.dumps(self._reader.message) if self._reader.message else ""
        said = await self._commit(answer)
        if said == answer:
            return message
        self._is_replaced = True
        return {**message, "body": encode(message_event(said)) if said else b"", "more_body": False}

    async def _after_the_last(self, message: Message) -> Message:
        """The next piece of a stream that cannot be read, once all is on record that it may tell of."""
        if not self._is_used():
            return message
        if message.get("more_body", False):
            may_leave = await self._commit_so_far()
        else:
            may_leave = await self._commit("") == ""
        if may_leave:
            return message
        self._is_replaced = True
        return {**message, "body": b"", "more_body": False}

    async def _rest(self, message: Message) -> list[Message]:
        """The next piece of an answer that began to leave before its call asked for the state."""
        if not message.get("more_body", False) and await self._commit("") != "":
            self._is_replaced = True  # it stays without its end, and no part is taken for a whole
            return []
        return [message]

    async def _whole(self, start: Message, body: bytes) -> list[Message]:
        answer = body.decode(errors="replace")
        said = await self._commit(answer)
        if said is None:
            return []
        if said != answer:
            body = said.encode()
            headers = without(start.get("headers", []), b"content-encoding")
            start = {**start, "status": 200, "headers": replaced(headers, b"content-length", b"%d" % len(body))}
        return [start, {"type": "http.response.body", "body": body, "more_body": False}]
