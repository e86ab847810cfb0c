"""What the app is shown of a request that is on no session, and what a client is told in answer."""

from __future__ import annotations

from collections.abc import Awaitable

from mooring.asgi import Message, Scope, Send, header, request_header, without
from mooring.core.request import SESSION_HEADER


def of_no_session(scope: Scope) -> Scope:
    """The scope without a session id: the modern era has no sessions, so nobody checked whose this is."""
    if request_header(scope["headers"], SESSION_HEADER) is None:
        return scope
    return {**scope, "headers": without(scope["headers"], SESSION_HEADER)}


def naming_no_session(send: Send) -> Send:
    """Sends an answer without the app's session id: the modern era has no sessions, and apps of the legacy era name one
    even in the answer that refuses a modern request."""

    def send_on(message: Message) -> Awaitable[None]:
        return send(start_of_no_session(message) if message["type"] == "http.response.start" else message)

    return send_on


def start_of_no_session(start: Message) -> Message:
    """The beginning of such an answer."""
    if header(start.get("headers", []), SESSION_HEADER) is None:
        return start
    return {**start, "headers": without(start["headers"], SESSION_HEADER)}
