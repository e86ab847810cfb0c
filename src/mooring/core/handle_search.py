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

from mooring.core.handles import PREFIX, QUOTED, found_in, is_meant, meant_in

NAME_HEADER: Final = b"mcp-name"
PARAMETER_HEADERS: Final = b"mcp-param-"

_URIS: Final = ("uri", "notifications")
"""Members of `params` whose texts are URIs of resources, to read or to listen for; of tasks, ids."""
_GIVEN_BACK: Final = ("inputResponses", "argument", "context")
"""Of answers to questions, and of what clients want completed: models write longer texts there."""

MOST_HANDLES: Final = 100
"""Of one request. One more than that is found in one that has more: it may be anybody's, and nobody looks at it."""

_PREFIX: Final = PREFIX.encode()
_RARE: Final = PREFIX[-1].encode()
_ESCAPED: Final = re.compile(rb"\\u007[eE]")
"""`~`, as JSON may spell it and no client does."""
_ESCAPED_PLAIN: Final = re.compile(rb"\\u00(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])")
"""What handles are made of, as JSON may spell it and no client does."""
_TAIL_BYTES: Final = 4096
"""More than a handle takes that was minted, however it is spelled and encoded."""
_ENCODED_MARK: Final = b"=?"
_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=", re.ASCII | re.DOTALL)


def in_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """What is meant for a handle in the headers, whose names are lower-case; each once."""
    found = []
    for name, value in headers:
        if name[:4] != b"mcp-" or not (_RARE in value or _ENCODED_MARK in value):
            continue
        if name == NAME_HEADER or name.startswith(PARAMETER_HEADERS):
            found += meant_in(decoded(value))
    return _each_once(found)


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
    the length that the body has then; without one where nobody knows that yet."""
    return [
        (name, _unwrapped_header(name, value, own_ids, body_bytes or 0))
        for name, value in headers
        if body_bytes is not None or name != b"content-length"
    ]


def _unwrapped_header(name: bytes, value: bytes, own_ids: Mapping[str, str], body_bytes: int) -> bytes:
    if name == b"content-length":
        return b"%d" % body_bytes
    if name == NAME_HEADER or name.startswith(PARAMETER_HEADERS):
        text = before = decoded(value)
        for handle, own_id in own_ids.items():
            text = text.replace(handle, own_id)
        return value if text == before else encoded(text)
    return value


def may_hold_handles(body: bytes) -> bool:
    """Whether the body has to be parsed: also where somebody has spelled it so that a handle is overlooked, with
    escapes or in UTF-16 or UTF-32."""
    if b"\0" in body[:4]:
        return True
    if _RARE not in body:
        return _is_escaped(body)
    return _PREFIX in body or (rb"\u00" in body and _ESCAPED_PLAIN.search(body) is not None)


def _is_escaped(text: bytes) -> bool:
    # Each of these takes longer than the one before; of what finds a text, `rfind` is the quickest by far.
    return b"\\" in text and text.rfind(rb"\u007") >= 0 and _ESCAPED.search(text) is not None


def in_body(
    body: bytes, inside: Collection[str] = (), members: Collection[str] = (), *, everywhere: bool = False
) -> list[str]:
    """What is meant for a handle in the arguments of a message, in its order; each once.

    Args:
        inside: the arguments in which one is looked for inside of longer text, too.
        members: of `params`, whose text may be one.
        everywhere: also where else a request of revision 2026-07-28 gives one back.
    """
    is_plain = b"\\" not in body and b"\0" not in body[:4]
    try:
        found = list(_in_message(json.loads(body), inside, members, everywhere)) if is_plain else []
        if not is_plain or len(found) != body.count(_PREFIX):  # one may stand under a name that stands twice
            found = list(_in_message(_WITH_DOUBLES.decode(_text(body)), inside, members, everywhere))
    except (ValueError, RecursionError):
        return []
    return _each_once(found)


def _each_once(found: list[str]) -> list[str]:
    return list(dict.fromkeys(found))[: MOST_HANDLES + 1]


class PassingSearch:
    """Looks for minted handles in a body as it passes by, however large: in all of its whole texts."""

    def __init__(self) -> None:
        self._tail = b""
        self._is_wide: bool | None = None

    def feed(self, piece: bytes) -> list[str]:
        """What has the form of one, and ends with this piece or not long before it."""
        data = self._tail + piece
        self._tail = data[-_TAIL_BYTES:]
        if self._is_wide is None and len(data) >= 4:
            self._is_wide = b"\0" in data[:4]
        if self._is_wide:  # UTF-16 or UTF-32
            data = data.replace(b"\0", b"")
        if _RARE not in data and not _is_escaped(data):
            return []
        plain = _ESCAPED_PLAIN.sub(lambda found: bytes.fromhex(found[1].decode()), data)
        return [found.decode() for found in dict.fromkeys(QUOTED.findall(plain))]


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
        for names, find in ((_URIS, found_in), (_GIVEN_BACK, meant_in)) if everywhere else ():
            values = (value for name in names for value in _members(params, name))
            yield from (found for value in values for text in _texts(value) for found in find(text))
        for arguments in _members(params, "arguments"):
            for name, value in _pairs(arguments):
                for text in _texts(value):
                    yield from (found_in(text) if name in inside else ()) or meant_in(text)


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
    """The texts in a value, however deep; names of members are none."""
    left = [value]
    while left:  # and no call for each level: readers of JSON go deeper than Python's own calls
        value = left.pop()
        kind = type(value)  # of hundreds of thousands, in a body of a legal size: nothing else is as quick
        if kind is str:
            yield value
        elif kind is list:
            left += value[::-1]
        elif kind is dict:
            left += reversed(value.values())
        elif kind is tuple:
            left += [member for _, member in value[::-1]]
