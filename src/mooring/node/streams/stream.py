"""One stream: its log, and whoever listens to it now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mooring.core import jsonrpc
from mooring.core.jsonrpc import Asked, Batch, RequestId, Wanted
from mooring.core.sse import SseBareBlock, SseComment, SseEvent, SsePart, encode
from mooring.core.stream_ids import BEGINNING, Place, StreamFacts, event_id
from mooring.core.stream_log import LoggedEvent, StreamLog
from mooring.node.streams.listener import Listener

MOST_EVENTS: Final = 10_000
_DISMISS_SECONDS: Final = 1.0
GAP: Final = "events were lost: more of them waited than this server keeps"
_LOST: Final = (
    "The request was carried out, and its answer is larger than what is kept for a client that lost its connection, or "
    "compressed. Look before you send it again, unless it changes nothing. Operator: see stream_log_bytes and "
    "stream_room_bytes; let the ingress compress, and not the app."
)

_NO_BATCH: Final[frozenset[RequestId]] = frozenset()


def lost_answer(asked: Asked) -> bytes:
    """That a request was answered, and its answer was not kept."""
    return jsonrpc.error_answer(asked, jsonrpc.INTERNAL_ERROR, _LOST, {"reason": "answer_lost"})


class Stream:
    """What the app says on one stream, in order, for one listener at a time.

    Attributes:
        id: see `mooring.core.stream_ids`.
        facts: what that says.
        log: what was said, as far as it is kept.
        is_over: nothing more will be said.
        is_answered: the request's answer is among what was said; of a batch all are.
        is_kept: its answer is on record beside its log, with what its call changed, for whoever sends that again.

    Args:
        epoch: at which the session's shard is held.
        most_bytes: that are kept.
        on_add: called with each event that is added.
        after: what is said stands after this.
    """

    def __init__(
        self,
        stream_id: str,
        facts: StreamFacts,
        epoch: int,
        most_bytes: int,
        on_add: Callable[[Stream, LoggedEvent], None],
        after: Place = BEGINNING,
    ) -> None:
        self.id = stream_id
        self.facts = facts
        self.epoch = epoch
        self.log = StreamLog(after, MOST_EVENTS, most_bytes)
        self.is_over = False
        self.is_kept = False
        self._on_add = on_add
        # Where answers stand, and to which requests: one place, or more for a batch.
        self._answers: dict[Place, Batch] = {}
        # Of a batch, and of that alone: what it asks, and what of that has no answer.
        self._asked = frozenset(facts.request_id) if isinstance(facts.request_id, tuple) else _NO_BATCH
        self._left = set(self._asked)
        # Whoever came last; and whether it has been told all that was said before it came.
        self._listener: Listener | None = None
        self._has_caught_up = False
        # The last event that somebody listened to, as far as can be known.
        self._delivered = BEGINNING
        # Whoever says something, or begins to listen: one at a time, so that all is heard in order and once.
        self._turn = asyncio.Lock()

    @property
    def has_listener(self) -> bool:
        return self._listener is not None and not self._listener.is_gone

    @property
    def is_heard(self) -> bool:
        """Whether somebody has heard all that was said, as far as can be known."""
        return self._delivered >= self.log.last

    def is_heard_to_its_end(self, place: Place) -> bool:
        """Whether who has heard all up to there has its answer, and nothing more will come."""
        return self.is_over and self.is_answered and place >= self.log.last

    @property
    def is_answered(self) -> bool:
        return not self._left if isinstance(self.facts.request_id, tuple) else bool(self._answers)

    @property
    def wanted(self) -> Wanted:
        """What is asked, to find the answers among what is said."""
        return self._asked if isinstance(self.facts.request_id, tuple) else self.facts.request_id

    @property
    def unanswered(self) -> Asked:
        """The request while it has no answer, or those of a batch that have none."""
        asked = self.facts.request_id
        if not isinstance(asked, tuple):
            return None if self._answers else asked
        return tuple(one for one in asked if one in self._left) or None

    def answered_at(self, place: Place, data: str = "") -> None:
        """An answer stands there, as somebody knows who said it elsewhere: this one, or all that are missing."""
        is_one_of_many = data and isinstance(self.facts.request_id, tuple)
        ids = jsonrpc.answered_in(data, self._asked) if is_one_of_many else jsonrpc.each_of(self.unanswered)
        self._answers[place] = ids
        self._left.difference_update(ids)

    async def say(self, part: SsePart, *, is_answer: bool = False) -> None:
        """The next part. A comment, or a block without data, is for whoever listens now, and is not kept."""
        if isinstance(part, SseComment | SseBareBlock):
            if self._listener is not None and self._has_caught_up and not self._turn.locked():
                async with self._turn:
                    await self._listener.take(encode(part))
            return
        async with self._turn:
            place = self.log.next_place(self.epoch)
            data = encode(SseEvent(part.data, part.event, event_id(self.id, place), part.retry_milliseconds))
            event = self.log.add(place, data)
            if is_answer:
                self.answered_at(place, part.data)
            self._on_add(self, event)
            await self._tell(event, data)

    async def listen(self, listener: Listener, after: Place | None, nothing: SseEvent | None = None) -> None:
        """From now on this one listens, and nobody else; where another comes before this one has heard all, that one.

        Args:
            after: the last event that it has; None where it cannot know: it gets what nobody has heard.
            nothing: what it is told, with the place where it is, where it has heard all and more may come. Clients
                of the TypeScript SDK know a place from their last connection alone: of one that brought no event
                they come back without, to whatever the server says by itself, and never to their request's stream.
        """
        before, self._listener, self._has_caught_up = self._listener, listener, False
        if before is not None:
            await before.make_way()
        async with self._turn:
            if self._listener is listener:
                await self._catch_up(listener, self._delivered if after is None else after, nothing)
            if self._listener is not listener:
                return
            self._has_caught_up = True
            if self.is_over:
                await self._end_listener()

    async def _catch_up(self, listener: Listener, place: Place, nothing: SseEvent | None) -> None:
        self._delivered = max(self._delivered, min(place, self.log.last))  # heard elsewhere, or before it was restored
        is_told = nothing is None or self.is_over
        if not self.log.holds_all_after(place):
            await listener.take(encode(SseComment(GAP)))
        missing = {at: ids for at, ids in self._answers.items() if at > place}
        for event in self.log.after(place):
            if listener.is_gone:
                return
            if event.data is not None:
                await listener.take(event.data)
                missing.pop(event.place, None)
                is_told = True
            if not listener.is_gone:
                self._delivered = max(self._delivered, event.place)
        for at, ids in missing.items():
            await self._tell_of_lost_answers(listener, at, ids)
        if nothing is not None and not is_told:
            await listener.take(encode(replace(nothing, id=event_id(self.id, max(place, self._delivered)))))

    async def _tell_of_lost_answers(self, listener: Listener, place: Place, ids: Batch) -> None:
        """In their place, so that whoever waits for them does not wait for ever."""
        for request_id in ids:
            await listener.take(encode(SseEvent(lost_answer(request_id).decode(), "message", event_id(self.id, place))))

    async def end(self) -> None:
        """Nothing more will be said."""
        async with self._turn:
            self.is_over = True
            await self._end_listener()

    async def dismiss(self, retry_milliseconds: int | None = None) -> None:
        """End whoever listens; what is said from now on waits for the next one.

        One that takes nothing, or little at a time, is let go as it is, and comes back for the rest: a node that ends,
        or gives its session away, does not wait for a client.

        Args:
            retry_milliseconds: how long it shall wait before it comes back; None: as it was told before.
        """
        listener = self._listener
        try:
            async with asyncio.timeout(_DISMISS_SECONDS):
                await self._dismiss(retry_milliseconds)
        except TimeoutError:
            if listener is not None:
                listener.stall()

    async def _dismiss(self, retry_milliseconds: int | None) -> None:
        async with self._turn:
            if retry_milliseconds is not None and self._listener is not None and self._has_caught_up:
                await self._listener.take(encode(SseBareBlock(retry_milliseconds=retry_milliseconds)))
            await self._end_listener()

    async def _end_listener(self) -> None:
        """End it, and let go of it: it holds all that the server has of its connection.

        One that has not heard all yet does so first.
        """
        if self._listener is not None and self._has_caught_up:
            listener, self._listener = self._listener, None
            await listener.end()

    async def _tell(self, event: LoggedEvent, data: bytes) -> None:
        listener = self._listener
        if listener is None or not self._has_caught_up:
            return
        await listener.take(data)
        if not listener.is_gone:
            self._delivered = event.place
        elif self._listener is listener:
            self._listener = None
