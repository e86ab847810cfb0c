"""What clients tell servers that goes on to matter: what the next incarnation of the session has to be told as well,
and what they wait for no more."""

from __future__ import annotations

from typing import Final

from mooring.core import jsonrpc
from mooring.node.membership.session import LocalSession
from mooring.node.node import Node
from mooring.node.requests.bodies import RememberedBody

_TELLING: Final = (b"setLevel", b"ubscribe")
"""What is in each message that the next incarnation has to be told of."""
_CANCELLED: Final = (b"notifications/cancelled", rb"notifications\/cancelled")
_LEVELS: Final = frozenset({"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"})
"""Any other is refused (specification 2025-11-25, Logging), and the one before it stays."""
_URI_LENGTH: Final = 2_000
_SUBSCRIPTIONS: Final = 100
"""Those beyond are not brought back when the session is revived, nor those to a longer URI."""


async def remember(node: Node, session: LocalSession, body: RememberedBody) -> None:
    """The app has taken this request."""
    if not body.holds(*_TELLING):
        return
    noted = [_is_noted(session, message) for message in jsonrpc.read_messages(body.raw())]
    if any(noted):
        await node.sessions.records.write(session)


def heed_cancellation(session: LocalSession, body: RememberedBody) -> None:
    """The app has taken this notification. Requests that it cancels need no answer (specification 2025-11-25,
    Cancellation), and their clients do not come back: they end with their connections, as without Mooring."""
    if body.holds(*_CANCELLED):
        messages = [one for one in jsonrpc.read_messages(body.raw()) if one.get("method") == "notifications/cancelled"]
        named = [jsonrpc.id_of({"id": jsonrpc.value_in(one, "params", "requestId")}) for one in messages]
        cancelled = frozenset(one for one in named if one is not None)
        for request in session.running:
            request.is_cancelled(cancelled)


def _is_noted(session: LocalSession, message: jsonrpc.Message) -> bool:
    """Whether this one of the request's messages is something to remember; it is, from now on."""
    uri = jsonrpc.text_in(message, "params", "uri")
    match message.get("method"):
        case "logging/setLevel" if (level := jsonrpc.text_in(message, "params", "level")) in _LEVELS:
            session.log_level = level
        case "resources/subscribe" if len(uri) <= _URI_LENGTH and len(session.subscriptions) < _SUBSCRIPTIONS:
            session.subscriptions[uri] = None
        case "resources/unsubscribe":
            session.subscriptions.pop(uri, None)
        case _:
            return False
    return True
