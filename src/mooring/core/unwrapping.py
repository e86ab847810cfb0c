"""A server's own ids in the place of handles that wrap them, in a text that may be JSON, with JSON in its texts again.

    the server's id                               so
    --------------------------------------------  ------------------------------------------------------------------
    is the same within quotes, as nearly all are  takes the handle's place wherever that stands
    has a quote, a backslash, a control character is escaped as often as it stands in JSON within JSON: models, and
                                                  prompts, write lists and objects as texts, and apps read them

What spells a handle with escapes keeps it: no server knows that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from mooring.core import exact_json
from mooring.core.handles import SHORTEST, spellings

_ESCAPED: Final = re.compile(r'["\\\x00-\x1f]')
"""Of any other letter an escape means the same in JSON within JSON."""
_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_MAY_BE_JSON: Final = ("{", "[", '"')


def unwrapped(body: bytes, own_ids: Mapping[str, str]) -> bytes:
    """The body with own ids in place of these handles. In one that comes in pieces, or that we cannot read, each is
    escaped once."""
    if _are_escaped(own_ids):
        with suppress(ValueError, RecursionError):
            return _unwrapped_json(body.decode(), own_ids).encode()
    for spelled, own_id in _pairs(own_ids, in_percents=b"%" in body):
        body = body.replace(spelled.encode(), json.dumps(own_id)[1:-1].encode())
    return body


def _pairs(own_ids: Mapping[str, str], *, in_percents: bool) -> Iterator[tuple[str, str]]:
    """What stands in a text, and what takes its place.

    Args:
        own_ids: by handle.
        in_percents: whether some may be spelled so.
    """
    for handle, own_id in own_ids.items():
        for spelled in spellings(handle) if in_percents else (handle,):
            yield spelled, own_id


def unwrapped_text(text: str, own_ids: Mapping[str, str]) -> str:
    """The text with own ids in place of these handles."""
    if text.lstrip()[:1] in _MAY_BE_JSON and _are_escaped(own_ids):
        with suppress(ValueError, RecursionError):
            return _unwrapped_json(text, own_ids)
    for spelled, own_id in _pairs(own_ids, in_percents="%" in text):
        text = text.replace(spelled, own_id)
    return text


def _are_escaped(own_ids: Mapping[str, str]) -> bool:
    """Whether one of them is another text within quotes."""
    return any(map(_ESCAPED.search, own_ids.values()))


def _unwrapped_json(text: str, own_ids: Mapping[str, str]) -> str:
    """The same of JSON, in each of its texts.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    exact_json.read(text)

    def unwrapped_in(found: re.Match[str]) -> str:
        if len(found[0]) < SHORTEST or not ("~" in found[0] or "%" in found[0] or "\\" in found[0]):
            return found[0]  # of these a body may have hundreds of thousands
        before = json.loads(found[0])
        after = unwrapped_text(before, own_ids)
        return found[0] if after == before else json.dumps(after)

    return _TEXT.sub(unwrapped_in, text)
