"""The ids of what a server asks its client (elicitation, sampling, roots), named by the incarnation of the session.

Each incarnation of an app counts its questions from the beginning. So a late answer to a question of the last
incarnation would be taken for the answer to another one of this. From the second incarnation on, the id that a client
sees is text that says which incarnation asked:

    the app's id   in incarnation   the client sees
    -------------  ---------------  ----------------------
    7              0                7
    7              3                "mooring:3:7"
    "seven"        3                "mooring:3:\"seven\""

An answer that does not name the incarnation of this moment is to a question that nobody asks any more. It is the same
with the token by which a client tells of its progress with a question: SDKs take the question's id for it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from mooring.core import jsonrpc

_MARK: Final = "mooring:"
_NAMED: Final = re.compile(rb"mooring:(\d{1,10}):(.{1,10000})", re.DOTALL)
_ID: Final = re.compile(rb'"id"\s*:\s*("mooring:(?:[^"\\]|\\.){1,20000}")')
_PROGRESS: Final = "notifications/progress"
_LARGE_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 1024 * 1024
"""What is larger is never read whole: anyone may send it, and it would hold up the node for a second."""


def named(data: str, incarnation: int) -> str:
    """An event's data with the ids of its questions as the client sees them."""
    said = _read(data)
    are_named = [_is_named(one, incarnation) for one in (said if isinstance(said, list) else [said])]
    if not any(are_named):
        return data
    try:
        # In ASCII: a lone surrogate can be read from JSON, and cannot be sent in any other way.
        return json.dumps(said, separators=(",", ":"))
    except RecursionError:  # it can be read and not written: its answer finds nobody
        return data


def _is_named(message: Any, incarnation: int) -> bool:
    """Whether this one names a question, by our name for it from now on."""
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        return False
    params = message.get("params")
    if jsonrpc.id_of(message) is not None:
        message["id"] = _name(message["id"], incarnation)
        meta = jsonrpc.value_in(message, "params", "_meta")
        if (token := jsonrpc.id_of({"id": jsonrpc.value_in(meta, "progressToken")})) is not None:
            meta["progressToken"] = _name(token, incarnation)
    elif message["method"] == "notifications/cancelled" and isinstance(params, dict) and "requestId" in params:
        params["requestId"] = _name(params["requestId"], incarnation)
    else:
        return False
    return True


def restored(body: bytes, incarnation: int) -> bytes | None:
    """A client's answer, or its progress with one, as the app knows the question; None where nobody asks it any more.

    Anything else is given back as it is. A large one is not read whole. Of a batch those answers are left out that
    nobody waits for, unless it is larger than any that is read.
    """
    if body.lstrip()[:1] == b"[":
        return _restored_batch(body, incarnation) if len(body) <= _READ_BYTES else body
    if len(body) > _LARGE_BYTES and b'"method"' not in body:
        return _restored_unread(body, incarnation)
    if len(body) > _READ_BYTES:
        return _restored_unread(body, incarnation) if _has_name_of_ours(body) else body
    message = jsonrpc.read_message(body)
    if message is None or not _is_of_question(message):
        return body
    if not _is_restored(message, incarnation):
        return None
    try:
        return json.dumps(message).encode()
    except RecursionError:  # nested deeper than can be written
        return _restored_unread(body, incarnation)


def _restored_batch(body: bytes, incarnation: int) -> bytes | None:
    messages = _read(body)
    if not isinstance(messages, list) or not any(map(_is_of_question, messages)):
        return body
    kept = [one for one in messages if not _is_of_question(one) or _is_restored(one, incarnation)]
    try:
        return json.dumps(kept).encode() if kept else None
    except RecursionError:  # nested deeper than can be written: its answers find nobody
        return None


def _is_of_question(message: Any) -> bool:
    """Whether it answers a question, or tells of progress with one."""
    return isinstance(message, dict) and (jsonrpc.is_answer(message) or message.get("method") == _PROGRESS)


def _is_restored(message: jsonrpc.Message, incarnation: int) -> bool:
    """Whether such a message names a question of this incarnation, by the app's own id from now on."""
    is_answer = jsonrpc.is_answer(message)
    named_id = jsonrpc.text_in(message, "id") if is_answer else jsonrpc.text_in(message, "params", "progressToken")
    inner = _inner_id(named_id, incarnation)
    if inner is None:
        return False
    if is_answer:
        message["id"] = inner
    else:
        message["params"]["progressToken"] = inner
    return True


def _restored_unread(body: bytes, incarnation: int) -> bytes | None:
    """The same for a large body without a method: an answer, or nothing that anybody knows."""
    found = _ID.search(body)
    if found is None:
        return None
    inner = _inner_id(jsonrpc.text_in({"id": _read(found[1])}, "id"), incarnation)
    return None if inner is None else body[: found.start(1)] + json.dumps(inner).encode() + body[found.end(1) :]


def _has_name_of_ours(body: bytes) -> bool:
    """Whether the message's own id, which SDKs write at either end, is a question's."""
    request_id = jsonrpc.id_at_either_end(body[: jsonrpc.HEAD_BYTES], body[-jsonrpc.TAIL_BYTES :])
    return isinstance(request_id, str) and request_id.startswith(_MARK)


def _inner_id(named_id: str, incarnation: int) -> jsonrpc.RequestId | None:
    found = _NAMED.fullmatch(named_id.encode(errors="replace"))  # half a character is in no id of ours
    if found is None or int(found[1]) != incarnation:
        return None
    return jsonrpc.id_of({"id": _read(found[2])})


def _read(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _name(request_id: jsonrpc.RequestId, incarnation: int) -> str:
    return f"{_MARK}{incarnation}:{json.dumps(request_id)}"
