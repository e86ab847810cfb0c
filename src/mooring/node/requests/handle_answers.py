"""What a call hears whose handle cannot be served: what the tool's author would say, so that the model can act on it.

A `tools/call` gets a result with `isError`; any other request an error, 400 as the modern era has it for wrong
parameters. Clients of the legacy era take that for the end of their connection: they get 200, if it is known what they
ask. The handle is named whole: whoever asks has sent it. Of another principal's handle the same is said as of one that
never was.
"""

from __future__ import annotations

import json
from typing import Final

from mooring.asgi import Scope, Send, respond
from mooring.core import jsonrpc
from mooring.core.request import read_facts
from mooring.core.routing import Reason

REASON_KEY: Final = "mooring/reason"
"""In `_meta` of a tool's result; `data.reason` of an error says the same."""

_SHOWN_LENGTH: Final = 300
_UNKNOWN: Final = (
    "There is no handle {handle}. Copy it whole and unchanged from the result that gave it, or get a new one."
)
_GONE: Final = (
    "The handle {handle} is gone, with everything it stood for: it was ended, not used for long, or the process that "
    "held it is no longer there. Get a new one."
)
_SAID: Final[dict[Reason, str]] = {
    Reason.FORGED: _UNKNOWN,
    Reason.PRINCIPAL: _UNKNOWN,
    Reason.EXPIRED: _GONE,
    Reason.UNKNOWN: _GONE,
    Reason.MIXED: "The handle {handle} cannot be used in one call with the others: each is held by another process. "
    "Use them in calls of their own.",
    Reason.UNREACHABLE: "The process that holds {handle} cannot be reached now, so nobody knows whether the call was "
    "carried out. Try again if it changes nothing, and look before you do otherwise.",
    Reason.OUTCOME_UNKNOWN: "The process that held {handle} ended while it carried this call out, so nobody knows "
    "whether it was carried out, in part or at all. Look before you call again.",
}
_NAMED: Final[dict[Reason, str]] = {
    Reason.FORGED: "unknown_handle",
    Reason.PRINCIPAL: "unknown_handle",
    Reason.EXPIRED: "handle_gone",
    Reason.UNKNOWN: "handle_gone",
    Reason.MIXED: "mixed_handles",
}


def can_be_said(reason: Reason) -> bool:
    """Whether this is about a handle."""
    return reason in _SAID


async def refuse_handle(
    send: Send,
    scope: Scope,
    reason: Reason,
    message: jsonrpc.Message | None,
    handle: str,
    *,
    asked: jsonrpc.Asked = None,
    is_posted: bool = False,
) -> None:
    """Answer that the handle cannot be served.

    Args:
        scope: of the request, and
        message: what it says; None where it cannot be read.
        handle: as it was sent.
        asked: the ids of what a batch asks, where it is one.
        is_posted: it is one of HTTP+SSE, whose client reads the status of this answer and no error in it.
    """
    text = _SAID[reason].format(handle=handle[:_SHOWN_LENGTH])
    name = _NAMED.get(reason, str(reason))
    request_id = None if message is None else jsonrpc.id_of(message)
    if request_id is not None and jsonrpc.text_in(message, "method") == "tools/call":
        result = {
            "resultType": "complete",
            "content": [{"type": "text", "text": text}],
            "isError": True,
            "_meta": {REASON_KEY: name},
        }
        body = json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode()
        await respond(send, 200, body, b"application/json")
    else:
        data = {"reason": name, "handle": handle[:_SHOWN_LENGTH]}
        asked = asked if request_id is None else request_id
        body = jsonrpc.error_answer(asked, jsonrpc.INVALID_PARAMS, text, data)
        is_modern = read_facts(scope["method"], scope["headers"]).modern
        status = 400 if is_posted or is_modern or asked is None else 200  # without its id nobody would take it for this
        await respond(send, status, body, b"application/json")
