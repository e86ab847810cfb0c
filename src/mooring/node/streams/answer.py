"""An app's event stream on its way into a log.

the app sends                          the client gets
-------------------------------------  -------------------------------------------------------------------
the beginning of the stream            the same at once, and an event that says nothing but its id: what
                                       makes a client come back (2025-11-25); to clients of earlier revisions,
                                       which cannot read that, `NOTHING`
an event                               the same under our id
an event that says nothing             its wait (`retry`), if there is any: it was for the app's own store. A shorter
                                       one than ours only where the app lets its client go: clients try twice, and
                                       what broke off takes longer to be back
a comment, a block without data        the same, unless nobody listens
a request of the server's              the same; from a second incarnation on under an id that names it
the end                                the end. Where the answer is missing, and the app named events, it goes on
                                       saying the rest to whoever asks it by its own id: so do we
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

from mooring.core import jsonrpc, questions
from mooring.core.sse import SseBareBlock, SseComment, SseEvent, SseParser, SsePart, message_event
from mooring.node.streams.stream import Stream

PRIMED_SINCE: Final = "2025-11-25"
NOTHING: Final = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mooring-nothing"}}'
"""What a client of an earlier revision reads, and forgets: the end of a request that it was never sent.

Of all that was tried with the SDKs' clients of those revisions (Python 1.9 to 1.21, TypeScript 1.12 to 1.22) it is what
none of them says a word of, in its log or to its user, and whose id they remember. An event of another name is a
warning in Python's log, progress for an unknown token an error of TypeScript's client, and a ping is answered.
"""


def nothing_for(protocol: str, retry_milliseconds: int | None = None) -> SseEvent:
    """What says nothing but its id, to clients of that revision."""
    if protocol >= PRIMED_SINCE:
        return SseEvent("", retry_milliseconds=retry_milliseconds)
    return SseEvent(NOTHING, "message", retry_milliseconds=retry_milliseconds)


class StreamedAnswer:
    """
    Args:
        protocol: the revision that the session agreed on.
        retry_milliseconds: how long the client shall wait before it comes back.
        settle: asked with the request's answer before it is said; returns what is said, None for nothing.

    Attributes:
        last_inner_id: the last id that the app itself gave an event; "" where it gave none.
        retry_milliseconds: how long the app would have its client wait; None where it does not say.
    """

    def __init__(
        self,
        stream: Stream,
        protocol: str,
        retry_milliseconds: int,
        incarnation: int,
        settle: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> None:
        self.last_inner_id = ""
        self.retry_milliseconds: int | None = None
        self._settle = settle
        self._stream = stream
        self._protocol = protocol
        self._retry_milliseconds = retry_milliseconds
        self._incarnation = incarnation
        self._parser = SseParser()
        # The furthest progress that was told, where the request is carried out again, and how many events after that
        # the client has heard of which only their number is known.
        self._told = -math.inf
        self._unknown = 0

    def skip_what_was_told(self) -> None:
        """The request is carried out again: its client hears of progress beyond what it has heard of.

        What it was told last may be on no record. So much progress is left out as it can have been: a step that nobody
        hears of does no harm, and one that is told twice is not allowed (specification 2025-11-25, Progress).
        """
        known = self._stream.log.everything()
        for event in known:
            for said in SseParser().feed(event.data or b""):
                self._told = max(self._told, _progress(said.data))
        self._unknown = self._stream.log.skipped - (0 if known else 1)  # its first one says nothing

    async def begin(self) -> None:
        """The stream has begun."""
        await self._stream.say(nothing_for(self._protocol, self._retry_milliseconds))

    async def feed(self, piece: bytes) -> None:
        """The next bytes of the app's answer."""
        for part in self._parser.read(piece):
            await self._say(part)

    async def _say(self, part: SsePart) -> None:
        if isinstance(part, SseComment):
            await self._stream.say(part)
            return
        self.last_inner_id = part.id or self.last_inner_id
        if isinstance(part, SseBareBlock) or not part.data:
            retry = self._wait_in(part)
            if retry is not None:
                await self._stream.say(SseBareBlock(retry_milliseconds=retry))
            return
        data = part.data
        if self._incarnation and '"method"' in data:
            data = questions.named(data, self._incarnation)
        if (self._told > -math.inf or self._unknown > 0) and self._was_told(_progress(data)):
            return
        may_answer = '"result"' in data or '"error"' in data
        is_answer = may_answer and not self._stream.is_answered and answers(data, self._stream.wanted)
        if is_answer and self._settle is not None:
            settled = await self._settle(data)
            if settled is None:
                return
            data = message_event(settled).data
        await self._stream.say(SseEvent(data, part.event, None, self._wait_in(part)), is_answer=is_answer)

    def _wait_in(self, part: SseEvent | SseBareBlock) -> int | None:
        """How long its client is told to wait from now on; None for as long as before."""
        if part.retry_milliseconds is None:
            return None
        self.retry_milliseconds = part.retry_milliseconds
        return part.retry_milliseconds if part.retry_milliseconds >= self._retry_milliseconds else None

    def _was_told(self, progress: float) -> bool:
        if progress > self._told and self._unknown > 0:
            self._unknown -= 1
            self._told = progress
        return -math.inf < progress <= self._told


def _progress(data: str) -> float:
    """What a progress notification tells; less than everything where it is none."""
    message = jsonrpc.read_message(data) if '"progress"' in data else None  # its slash may be escaped
    if jsonrpc.text_in(message, "method") != "notifications/progress":
        return -math.inf
    told = jsonrpc.value_in(message, "params", "progress")
    try:
        return float(told) if isinstance(told, int | float) else -math.inf
    except OverflowError:  # a whole number beyond what a float can be
        return math.inf


def answers(data: str, asked: jsonrpc.Wanted) -> bool:
    """Whether this answers that request, or one of a batch; where nobody knows what was asked, whether it is one."""
    if asked is None:
        return any(jsonrpc.is_answer(message) for message in jsonrpc.read_messages(data))
    return bool(jsonrpc.answered_in(data, asked))
