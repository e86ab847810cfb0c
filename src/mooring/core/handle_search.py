"""Where handles are looked for in a request: `Mcp-Name`, `Mcp-Param-*`, and of its body `params.arguments` and what
else clients give back: URIs of resources, answers to questions, and what they want completed.

A body without one costs a look for a single byte; only one that has the prefix is parsed. Of names that stand twice in
an object all values count: parsers do not agree on which one an app sees.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

from mooring.core import unread_json
from mooring.core.handles import PREFIX, found_in, is_meant, meant_in
from mooring.core.unread_json import RARE, without_percents
from mooring.core.unwrapping import unwrapped_text

NAME_HEADER: Final = b"mcp-name"
PARAMETER_HEADERS: Final = b"mcp-param-"

_URIS: Final = ("uri", "notifications", "ref")
"""Members of `params` whose texts are URIs of resources, to read, to listen for or to complete; of tasks, ids."""
_GIVEN_BACK: Final = ("inputResponses", "context")
"""Answers to questions, and what is known of a text that a client has completed: models write longer texts there."""
_BEGUN: Final = ("argument",)
"""What a client has completed: a part of a handle is none yet."""

MOST_HANDLES: Final = 100
"""Of one request. One more than that is found in one that has more: it may be anybody's, and nobody looks at it."""

_PREFIX: Final = PREFIX.encode()
_QUOTED: Final = b'"%b' % _PREFIX
_ENCODED_MARK: Final = b"=?"
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=", re.ASCII | re.DOTALL)


def in_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """What is meant for a handle in the headers, whose names are lower-case; each once."""
    found = []
    for name, value in headers:
        if name[:4] != b"mcp-" or not may_be_in_header(value):
            continue
        if name == NAME_HEADER:
            found += _named(decoded(value))
        elif name.startswith(PARAMETER_HEADERS):
            found += meant_in(decoded(value))
    return _each_once(found)


def may_be_in_header(value: bytes) -> bool:
    """Whether a handle may be in this value, by a look."""
    return RARE in value or b"%" in value or _ENCODED_MARK in value


def _named(text: str) -> list[str]:
    """Those in `Mcp-Name`: a task's id, or the URI of a resource."""
    return meant_in(text) or _in_uri(text)


def _in_uri(text: str) -> list[str]:
    return found_in(without_percents(text))


def decoded(value: bytes) -> str:
    """A header's value, which may be in base64 (specification 2026-07-28, Custom Headers from Tool Parameters)."""
    text = value.decode("latin-1").strip(" \t")
    found = _ENCODED.fullmatch(text)
    if found is None:
        return text
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except ValueError:
        return text


def encoded(text: str) -> bytes:
    """The same the other way: in base64 where a header could not carry it."""
    if text.isascii() and text.isprintable() and text == text.strip(" \t") and not _ENCODED.fullmatch(text):
        return text.encode()
    return b"=?base64?%b?=" % base64.b64encode(text.encode())


def unwrapped_headers(
    headers: Iterable[tuple[bytes, bytes]], own_ids: Mapping[str, str], body_bytes: int | None
) -> list[tuple[bytes, bytes]]:
    """The headers with own ids in place of these handles, in longer text too as in the body that they mirror, and with
    the length that the body has then; where nobody knows that yet, as one in pieces (RFC 9112, section 6): without
    either there is none."""
    length = (b"transfer-encoding", b"chunked") if body_bytes is None else (b"content-length", b"%d" % body_bytes)
    return [
        length if name == b"content-length" else (name, _unwrapped_header(name, value, own_ids))
        for name, value in headers
    ]


def _unwrapped_header(name: bytes, value: bytes, own_ids: Mapping[str, str]) -> bytes:
    if name == NAME_HEADER or name.startswith(PARAMETER_HEADERS):
        before = decoded(value)
        text = unwrapped_text(before, own_ids)
        return value if text == before else encoded(text)
    return value


def may_hold_handles(body: bytes) -> bool:
    """Whether the body has to be parsed: also where somebody has spelled it so that a handle is overlooked, with
    escapes or in UTF-16 or UTF-32."""
    return b"\0" in body[:4] or unread_json.may_hold_one(body)


def in_body(
    body: bytes, inside: Collection[str] = (), members: Collection[str] = (), *, everywhere: bool = False
) -> list[str] | None:
    """What is meant for a handle in the arguments of a message, in its order; each once. None where it cannot be read:
    other readers take longer numbers, deeper nesting and broken UTF-8.

    Args:
        inside: the arguments in which one is looked for inside of longer text, too.
        members: of `params`, whose text may be one.
        everywhere: also where else a request of revision 2026-07-28 gives one back.
    """
    is_plain = _is_plain(body)
    try:
        found = list(_in_message(json.loads(body), inside, members, everywhere)) if is_plain else []
        if not is_plain or len(found) != body.count(_PREFIX):  # one may stand under a name that stands twice
            found = list(_in_message(_WITH_DOUBLES.decode(_text(body)), inside, members, everywhere))
    except (ValueError, RecursionError):
        return None
    return _each_once(found)


def only_text(body: bytes) -> str | None:
    """The only text in a message that may be meant for a handle, by a look; None where `in_body` has to tell."""
    begin = body.find(_QUOTED)
    if begin < 0 or body.count(_PREFIX) != 1 or not _is_plain(body):
        return None
    return body[begin + 1 : body.find(b'"', begin + 1)].decode("latin-1")


def is_argument(text: str, body: bytes) -> bool:
    """Whether the text is an argument of the message as it stands there."""
    try:
        return text in json.loads(body)["params"]["arguments"].values()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return False


def _is_plain(body: bytes) -> bool:
    """Whether a text stands in it as it is."""
    return not (b"\\" in body or b"%" in body or b"\0" in body[:4])


def _each_once(found: list[str]) -> list[str]:
    return list(dict.fromkeys(found))[: MOST_HANDLES + 1]


def _text(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "surrogatepass")


_WITH_DOUBLES: Final = json.JSONDecoder(object_pairs_hook=tuple)
"""Of it an object is a tuple of its members as they stand there, doubles too; nothing else is one."""


def _in_message(message: Any, inside: Collection[str], members: Collection[str], everywhere: bool) -> Iterator[str]:
    if isinstance(message, list):  # a batch, as revision 2025-03-26 has them, and apps of any may take
        for one in message:
            yield from _in_message(one, inside, members, everywhere) if not isinstance(one, list) else ()
    for params in _members(message, "params"):
        for member in members:
            yield from (text for text in _members(params, member) if isinstance(text, str) and is_meant(text))
        for names, find in ((_URIS, _in_uri), (_GIVEN_BACK, _said_in), (_BEGUN, _begun_in)) if everywhere else ():
            values = (value for name in names for value in _members(params, name))
            yield from (found for value in values for text in _texts(value) for found in find(text))
        for arguments in _members(params, "arguments"):
            for name, value in _pairs(arguments):
                for text in _texts(value):
                    yield from (found_in(text) if name in inside else ()) or _said_in(text)


def _said_in(text: str) -> list[str]:
    """What a text says, which may be JSON: models, and prompts, write lists and objects so, and apps read them."""
    if text[:1] == PREFIX[:1]:
        return meant_in(text)
    if "~" not in text and "\\" not in text:
        return []
    said = text.lstrip()
    return unread_json.in_text(said) if said[:1] in ("[", "{") else meant_in(said)


def _begun_in(text: str) -> list[str]:
    return found_in(text) if is_meant(text) else []


def _pairs(value: Any) -> Iterable[tuple[str, Any]]:
    """The members of an object, of whichever parser; none of anything else."""
    if isinstance(value, dict):
        return value.items()
    return value if isinstance(value, tuple) else ()


def _members(value: Any, name: str) -> Iterable[Any]:
    """Those of that name."""
    if isinstance(value, dict):
        return (value[name],) if name in value else ()
    return [member for key, member in _pairs(value) if key == name]


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, however deep, and the names of members there: an app may take an object by its names."""
    left = [value]
    while left:  # and no call for each level: readers of JSON go deeper than Python's own calls
        value = left.pop()
        kind = type(value)  # of hundreds of thousands, in a body of a legal size: nothing else is as quick
        if kind is str:
            yield value
        elif kind is list:
            left += value[::-1]
        elif kind is dict:
            left += [one for member in reversed(value.items()) for one in member[::-1]]
        elif kind is tuple:
            left += [one for member in value[::-1] for one in member[::-1]]
