"""An answer on its way to the client, with the server's own ids wrapped (`mooring.core.wrapping`).

JSON is held until it is whole, an event stream one event at a time. What is larger than the limit goes out as it is,
and the log says so; so does what is compressed. A large message is read in a thread: meanwhile the node serves others,
and is seen to be alive.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mooring.asgi import EVENT_STREAM, Message, Send, is_compressed, media_type, replaced, without
from mooring.core.loosening import Loosening
from mooring.core.marking import Marking
from mooring.core.sse import SseEvent, SseParser, SsePart, encode
from mooring.core.wrapping import Wrapping

logger = logging.getLogger("mooring.handles")

LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Of JSON, or of one event."""
_AT_ONCE: Final = 256 * 1024
"""Letters of a message that is read in no more time than a node may be silent for."""

_EVENT_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_LONGEST_END: Final = 4


class WrappedAnswer:
    """
    Args:
        wrapping: says what becomes of each message; called when the answer begins: by then the app has said who asks.
        warn: says what is not done, as a logger does.
    """

    def __init__(
        self,
        wrapping: Callable[[], Wrapping | Marking | Loosening],
        send: Send,
        warn: Callable[..., None] = logger.warning,
    ) -> None:
        self._make_wrapping = wrapping
        self._send = send
        self._warn = warn
        self._wrapping: Wrapping | Marking | Loosening | None = None
        # The beginning of an answer in JSON, until it is whole; and what came of the message that is not whole yet.
        self._start: Message | None = None
        self._held = bytearray()
        # How much of that holds no event's end.
        self._searched = 0
        self._in_events = False
        # Some apps say several things at a time, and each in one piece.
        self._turn = asyncio.Lock()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body" or self._wrapping is None:
            await self._send(message)
        else:
            async with self._turn:
                await (self._pass_events(message) if self._in_events else self._take(message))

    async def _begin(self, message: Message) -> None:
        headers = message.get("headers", [])
        kind = media_type(headers)
        self._in_events = kind == EVENT_STREAM
        is_plain = not is_compressed(headers)
        if (kind == b"application/json" or self._in_events) and is_plain:
            self._wrapping = self._make_wrapping()
            if not self._in_events:
                self._start = message
                return
            message = {**message, "headers": without(headers, b"content-length")}  # it will be longer
        elif not is_plain:
            self._warn(
                "an answer is compressed, though it was asked for as it is: no id in it is wrapped (handles), and no "
                "argument marked (mark_handle_params); let the ingress compress"
            )
        await self._send(message)

    async def _take(self, message: Message) -> None:
        """A piece of JSON."""
        self._held += message.get("body", b"")
        more = message.get("more_body", False)
        if more and len(self._held) <= LIMIT_BYTES:
            return
        body = bytes(self._held) if more else await self._wrapped(bytes(self._held))
        if self._start is not None:
            headers = replaced(list(self._start.get("headers", [])), b"content-length", b"%d" % len(body))
            await self._send(self._start if more else {**self._start, "headers": headers})
        if more:
            self._give_up()
        await self._send({**message, "body": body})

    async def _pass_events(self, message: Message) -> None:
        self._held += message.get("body", b"")
        ready = bytearray()
        while (end := _EVENT_END.search(self._held, self._searched)) is not None:
            ready += await self._event(bytes(self._held[: end.end()]))
            del self._held[: end.end()]
            self._searched = 0
        self._searched = max(0, len(self._held) - _LONGEST_END + 1)
        more = message.get("more_body", False)
        if not more or len(self._held) > LIMIT_BYTES:
            ready += self._held
            self._held.clear()
            self._searched = 0
            if more:
                self._give_up()
        if ready or not more:
            await self._send({**message, "body": bytes(ready)})

    async def _event(self, block: bytes) -> bytes:
        """One event as it goes out: as it came, where nothing in it is wrapped."""
        if b"data" not in block:
            return block
        parts = SseParser().read(block)
        changed = [await self._part(part) for part in parts]
        return block if changed == parts else b"".join(map(encode, changed))

    async def _part(self, part: SsePart) -> SsePart:
        data = await self._message(part.data) if isinstance(part, SseEvent) else None
        return replace(part, data=data) if isinstance(part, SseEvent) and data is not None else part

    async def _wrapped(self, body: bytes) -> bytes:
        try:
            changed = await self._message(body.decode())
        except UnicodeDecodeError:
            changed = None
        return body if changed is None else changed.encode()

    async def _message(self, text: str) -> str | None:
        if self._wrapping is None:
            return None
        if len(text) <= _AT_ONCE:
            return self._wrapping.message(text)
        return await asyncio.to_thread(self._wrapping.message, text)

    def _give_up(self) -> None:
        self._warn("an answer of more than %d bytes went out as it is: no id in it is wrapped (handles)", LIMIT_BYTES)
        self._wrapping = None
