"""The answers that Mooring gives in place of the app: refusals.

A refusal is a JSON-RPC error. Its message tells the client what to do and the operator what to look at; its
`data.reason` is for programs. A session that is gone for good is 404 (specification 2025-11-25, Basic / Transports /
Session Management); what may work on the next try is HTTP 200 with an error for that one request, since clients
die on a 5xx.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Final

from mooring.asgi import HeaderList, Send, request_header, respond
from mooring.core import jsonrpc, sse
from mooring.core.request import LAST_EVENT_ID, VERSION_HEADER
from mooring.core.routing import Reason
from mooring.core.stream_ids import StreamFacts
from mooring.node.streams.answer import nothing_for

logger = logging.getLogger("mooring.routing")

MAY_WORK_SOON: Final = frozenset({Reason.UNREACHABLE, Reason.NOT_REVIVED})
"""The session goes on, and the same request may be served on the next try."""

SAY_NOTHING_OF_A_SESSION: Final = frozenset({401, 403, 407, 408, 413, 421, 429})
"""What an app may answer to anybody, as it may any 5xx. A client that is told to sign in has to hear it."""

_COME_AGAIN: Final = sse.encode(sse.SseBareBlock(retry_milliseconds=3000))
"""A whole event stream that says when to open the next one."""
_EVENT_ID: Final = re.compile(rb"[!-~]{1,1000}")

_GONE = "Session not found. Send initialize without a session id to open a new one."
_EXPLAINED: Final[dict[Reason, tuple[int, str]]] = {
    Reason.FORGED: (
        404,
        f"{_GONE} Operator: this cluster did not mint this id; check that all nodes have the same MOORING_SECRET, "
        "and that nothing in front rewrites Mcp-Session-Id.",
    ),
    Reason.UNKNOWN: (
        404,
        f"{_GONE} Operator: no node and no record knows it; `mooring status` shows the nodes, `mooring sessions` the "
        "sessions of this cluster.",
    ),
    Reason.EXPIRED: (
        404,
        f"{_GONE} Operator: it was closed, or the app ended it; check the app's idle timeout and session limit.",
    ),
    Reason.OWNER_LOST: (
        404,
        f"{_GONE} Operator: the node that held it is dead or was stopped; `mooring status` and its log say when.",
    ),
    Reason.MISROUTED: (
        404,
        f"{_GONE} Operator: a peer passed this on to a node that does not own it; check that the "
        "address of every node in `mooring status` leads to that very node.",
    ),
    Reason.DUPLICATE_HEADER: (
        400,
        "Mcp-Session-Id appears more than once: send it once. Operator: where the client does, a proxy in front of the "
        "nodes, or between them, adds it again; let it pass the header on as it came.",
    ),
    Reason.MIXED: (
        400,
        "The handles of this request are held by several nodes: use them in requests of their own. Operator: "
        "mixed_handles says what becomes of such requests.",
    ),
    Reason.COMPRESSED: (
        415,
        "The body of this request is compressed (Content-Encoding): send it as it is. Operator: what a request names, "
        "and so where it belongs, cannot be read in it; switch off what compresses requests in front, or have them "
        "unpacked before they come here.",
    ),
    Reason.SIGNATURE: (
        403,
        "This request is not from a peer. Operator: check that all nodes have the same MOORING_SECRET and the same "
        "Redis, by whose clock they go; nobody outside the cluster may send Mooring-Peer.",
    ),
    Reason.UNREACHABLE: (
        200,
        "The node that holds this session cannot be found or reached now, so nobody knows whether the request was "
        "carried out. The session goes on: try again what changes nothing, and look before you send anything else "
        "again. Operator: check that nodes reach each other at the "
        "addresses in `mooring status`, and that Redis answers.",
    ),
}
_EXPLAINED[Reason.NOT_REVIVED] = (
    200,
    "This session has to be opened again, and its server fails at that now, or takes too long. The session goes on: "
    "send the request again later. Operator: see the log of the app on the node that answers this, for `initialize`.",
)
_EXPLAINED[Reason.OUTCOME_UNKNOWN] = (
    200,
    "The node that carried this request out is gone, so nobody knows whether it was carried out, in part or at all. "
    "The session goes on. Look before you send it again, unless it changes nothing. Operator: the log of the node that "
    "answers this says which node died.",
)
_HEADERS: Final[dict[Reason, HeaderList]] = {Reason.COMPRESSED: [(b"accept-encoding", b"identity")]}
"""What is accepted instead (RFC 9110, section 12.5.3)."""
# On the wire, another principal's session looks exactly like one that never existed.
_EXPLAINED[Reason.PRINCIPAL] = _EXPLAINED[Reason.UNKNOWN]


def advice_on(reason: Reason) -> str:
    """What the operator can do about such a refusal, for the log; "" where there is nothing."""
    advice = _EXPLAINED[reason][1].partition("Operator: ")[2].removesuffix(".")
    return f"; {advice}" if advice else ""


def status_of(reason: Reason) -> int:
    """The HTTP status of a refusal."""
    return _EXPLAINED[reason][0]


async def refuse(
    send: Send,
    reason: Reason,
    *,
    method: str = "POST",
    request_id: jsonrpc.Asked = None,
    is_posted: bool = False,
    headers: HeaderList | None = None,
) -> None:
    """Answer with the refusal that `reason` stands for.

    Args:
        method: of the request; a GET that may work later gets a stream that ends cleanly and says when to come back.
        request_id: the JSON-RPC id of the request, or those of a batch, where it is known.
        is_posted: it is one of HTTP+SSE, whose client reads the status of this answer and no error in it.
        headers: of the request.
    """
    if reason in MAY_WORK_SOON and method == "GET":
        await respond(send, 200, _come_again(headers or []), b"text/event-stream")
        return
    status = 503 if is_posted and reason in MAY_WORK_SOON else status_of(reason)
    await respond(send, status, _error(reason, request_id), b"application/json", _HEADERS.get(reason, []))


def _come_again(headers: HeaderList) -> bytes:
    """The same for whoever came back for a stream: its id is said again, since clients of the TypeScript SDK know it
    from their last connection alone. Without it they come back to nothing, and wait for their answer for ever."""
    named = request_header(headers, LAST_EVENT_ID) or b""
    if _EVENT_ID.fullmatch(named) is None:
        return _COME_AGAIN
    nothing = nothing_for((request_header(headers, VERSION_HEADER) or b"").decode("latin-1"))
    return sse.encode(replace(nothing, id=named.decode(), retry_milliseconds=3000))


def last_words(method: str, request_id: jsonrpc.Asked) -> bytes:
    """What ends an event stream whose node died: to a request its one answer, to a GET when to come back."""
    if method == "GET" or request_id is None:
        return _COME_AGAIN
    errors = (_error(Reason.OUTCOME_UNKNOWN, one).decode() for one in jsonrpc.each_of(request_id))
    return b"".join(sse.encode(sse.SseEvent(error, event="message")) for error in errors)


def outcome_unknown(facts: StreamFacts, name: str = "") -> bytes:
    """The answer to a request of which nobody can know what became of it.

    Args:
        name: of its tool, prompt or resource, where that is known.
    """
    message = _EXPLAINED[Reason.OUTCOME_UNKNOWN][1]
    data = {"reason": str(Reason.OUTCOME_UNKNOWN)} | ({"name": name} if name else {})
    return jsonrpc.error_answer(facts.request_id, jsonrpc.INTERNAL_ERROR, message, data)


def _error(reason: Reason, request_id: jsonrpc.Asked) -> bytes:
    status, message = _EXPLAINED[reason]
    code = jsonrpc.INTERNAL_ERROR if status == 200 else jsonrpc.INVALID_REQUEST
    shown = Reason.UNKNOWN if reason is Reason.PRINCIPAL else reason
    return jsonrpc.error_answer(request_id, code, message, {"reason": str(shown)})
