"""JSON-RPC 2.0 as it travels: foreign messages read, error answers written.

Nothing here raises on foreign text, however broken. It is read leniently: unknown members, NaN in
a result, and names that appear twice (the last one counts) are the business of whoever the message is for.

Revision 2025-03-26 had batches, messages in an array. `initialize` must not be in one (2025-03-26, Lifecycle), so no
batch opens a session or answers it: `read_message` finds nothing in an array. `read_messages` looks into it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

HEAD_BYTES: Final = 1024
TAIL_BYTES: Final = 512
"""Of a message that is too large to be read: enough to find its id (`id_at_either_end`)."""
_FLAT: Final = rb'(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)'
_ID_FIRST: Final = re.compile(
    rb'\s*\{(?:\s*"(?!id")[^"\\]*"\s*:\s*' + _FLAT + rb'\s*,)*\s*"id"\s*:\s*(' + _FLAT + rb")\s*[,}]"
)
_ID_LAST: Final = re.compile(
    rb'[{,]\s*"id"\s*:\s*(' + _FLAT + rb')\s*(?:,\s*"[^"\\]*"\s*:\s*' + _FLAT + rb"\s*)*\}\s*\Z"
)

Message = dict[str, Any]
RequestId = str | int | float
"""MCP allows strings and integers, and null to nobody, unlike JSON-RPC (2025-11-25, Base Protocol: Requests). A number
with a fraction is taken too: it is given back, and whether it is right is for the app to say."""
Batch = tuple[RequestId, ...]
Asked = RequestId | Batch | None
"""What a message asks: one request, or those of a batch; None where it asks nothing, or nobody knows."""
Wanted = Asked | frozenset[RequestId]
"""The same, where it is asked for again and again: a batch may have tens of thousands."""


def read_message(data: bytes | bytearray | str) -> Message | None:
    """The message that this is; None where it is no JSON, not whole, or no object."""
    value = _read(data)
    return value if isinstance(value, dict) else None


def read_messages(data: bytes | bytearray | str) -> list[Message]:
    """The message that this is, or those of a batch, in its order."""
    value = _read(data)
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]


def begins_batch(data: bytes | bytearray) -> bool:
    """Whether this, which may be the beginning of a body alone, begins as a batch does."""
    return data.lstrip()[:1] == b"["


def _read(data: bytes | bytearray | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # not JSON or not UTF-8, a number of thousands of digits; nested too deep
        return None


def is_answer(message: Message) -> bool:
    """Whether it answers a request, with a result or an error."""
    return "method" not in message and ("result" in message or "error" in message)


def id_of(message: Message) -> RequestId | None:
    """The id of a request or of an answer; None where there is none that is allowed.

    `true` is none, though Python takes it for 1. Neither are NaN and the infinities (`1e999`): JSON has no way to say
    them back.
    """
    value = message.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def id_at_either_end(head: bytes, tail: bytes) -> RequestId | None:
    """The id of a message that is too large to be read, where nothing nested stands before it or after it.

    SDKs write `params` or `result` last, or first.
    """
    found = _ID_FIRST.match(head) or _ID_LAST.search(tail)
    return None if found is None else id_of({"id": _read(found[1])})


def asked_in(data: bytes | bytearray | str) -> Asked:
    """The id of the request that this is, those of the requests in a batch, or None where nothing is asked."""
    value = _read(data)
    if isinstance(value, dict):
        return id_of(value) if "method" in value else None
    ids = tuple(id_of(one) for one in value if "method" in one) if _is_batch(value) else ()
    return tuple(one for one in ids if one is not None) or None


def _is_batch(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def each_of(asked: Asked) -> Batch:
    """The requests, one by one."""
    return asked if isinstance(asked, tuple) else () if asked is None else (asked,)


def answered_in(data: str, asked: Wanted) -> Batch:
    """Which of those requests this answers."""
    wanted = asked if isinstance(asked, frozenset) else frozenset(each_of(asked))
    ids = (id_of(one) for one in read_messages(data) if is_answer(one))
    return tuple(one for one in ids if one is not None and one in wanted)


def value_in(message: Message | None, *path: str) -> Any:
    """What is found on this path of names; None where it leads nowhere."""
    value: Any = message
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_in(message: Message | None, *path: str) -> str:
    """The text on this path of names; "" where there is none, or something else.

    Only text: to print a list that is nested as deep as may be read can fail.
    """
    value = value_in(message, *path)
    return value if isinstance(value, str) else ""


def error_answer(asked: Asked, code: int, message: str, data: Mapping[str, Any]) -> bytes:
    """An error as the answer to that request, or to each of a batch; its id is null where nobody could read it."""
    error = {"code": code, "message": message, "data": dict(data)}
    if isinstance(asked, tuple):
        return json.dumps([{"jsonrpc": "2.0", "id": one, "error": error} for one in asked]).encode()
    return json.dumps({"jsonrpc": "2.0", "id": asked, "error": error}).encode()
