"""What a server asks on an answer that is not kept, named as on streams that are (`mooring.core.questions`)."""

from __future__ import annotations

from dataclasses import replace

from mooring.asgi import EVENT_STREAM, Message, is_open_event_stream, media_type
from mooring.core import questions
from mooring.core.sse import SseEvent, SseParser, SsePart, encode
from mooring.node.membership.session import LocalSession


class PassingQuestions:
    """Those of one answer, of a later incarnation of its session.

    Args:
        are_named: whoever gets the answer names them.
    """

    def __init__(self, session: LocalSession, *, are_named: bool = False) -> None:
        self._session = session
        self._are_named = are_named
        # Once the answer turns out to be a stream that can be read.
        self._parser: SseParser | None = None

    def named(self, message: Message) -> Message:
        """The next message of the answer as the client gets it.

        In a stream that the app compresses nobody can name anything: then answers are the app's as they come.
        """
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            is_open = is_open_event_stream(headers)
            self._parser = SseParser() if is_open and not self._are_named else None
            if media_type(headers) == EVENT_STREAM and not is_open:
                self._session.asks_unnamed = True
        elif message["type"] == "http.response.body" and self._parser is not None:
            parts = map(self._named, self._parser.read(message.get("body", b"")))
            message = {**message, "body": b"".join(map(encode, parts))}
        return message

    def _named(self, part: SsePart) -> SsePart:
        if not isinstance(part, SseEvent) or '"method"' not in part.data:
            return part
        return replace(part, data=questions.named(part.data, self._session.incarnation))
