"""Ids that are known, found in longer text, and handles put in their places.

    in a text                                  so
    -----------------------------------------  ------------------------------------------------------------------------
    a known id that stands by itself           becomes its handle; of several that begin there the longest
    a handle                                   stays, whatever is in it
    a URL (http, ws)                           stays, unless the text is itself a resource's URI: people open it

An answer may have thousands of ids and of texts: a few ids are one pattern, and of many those that a text may have at
a place are looked up, by how they begin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mooring.core.handles import FORM

LEAST_LETTERS: Final = 6
"""Of an id that is looked for."""

_URL: Final = r"""(?:https?|wss?):(?:/|\\/){2}(?:[^\s"'<>\\|`^]|\\/)*"""
"""Of a page or a socket, up to what no URL holds (RFC 3986): nobody unwraps what is asked for there."""
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_OTHERS_IN_URIS: Final = [
    re.compile(rf"[^A-Za-z0-9._~{re.escape(left)}-]+", re.ASCII)
    for left in ("", "/", "!'()*", "/:@!$&'()*+,;=", "/:@!$&'()*+,;=?#")
]
"""What is written in percents by RFC 6570 and most, Python's `quote`, JavaScript's `encodeURIComponent`, RFC 3986 in a
path, and `encodeURI`."""
_PERCENTS: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+", re.ASCII)
_FEW: Final = 50
_LETTER: Final = "[A-Za-z0-9_-]"
_WORD: Final = re.compile(rf"{_LETTER}+", re.ASCII)


class KnownIds:
    """
    Args:
        handles: by id, as it is spelled in the text; none has less than `LEAST_LETTERS`.
        in_uri: the texts are URIs.
    """

    def __init__(self, handles: Mapping[str, str], *, in_uri: bool) -> None:
        self._handles = handles
        left_alone = [FORM] if in_uri else [FORM, _URL]
        are_few = len(handles) <= _FEW
        listed = map(re.escape, sorted(handles, key=len, reverse=True)) if are_few else [_WORD.pattern]
        either = "|".join([*left_alone, *listed])
        self._pattern = re.compile(rf"(?<!{_LETTER})(?:{either})(?!{_LETTER})", re.ASCII)
        # Of many, those that are more than a word: how long they are, by how they begin; and where one may.
        self._lengths: dict[str, list[int]] = {} if are_few else _lengths_of(handles)
        self._places: re.Pattern[str] | None = None
        if self._lengths:
            first = "".join(re.escape(letter) for letter in sorted({head[0] for head in self._lengths}))
            places = rf"(?<!{_LETTER})(?:({'|'.join(left_alone)})(?!{_LETTER})|{_LETTER}+|[{first}])"
            self._places = re.compile(places, re.ASCII)

    def replaced(self, text: str) -> str:
        """The text with handles in it."""
        if not self._handles:
            return text
        if self._places is None:
            return self._pattern.sub(lambda found: self._handles.get(found[0], found[0]), text)
        return self._looked_up(text, self._places)

    def _looked_up(self, text: str, places: re.Pattern[str]) -> str:
        pieces: list[str] = []
        done = at = 0
        while (found := places.search(text, at)) is not None:
            start, at = found.span()
            known = found[0] if found[1] is not None else self._known_at(text, start) or found[0]
            if known in self._handles:
                at = start + len(known)
                pieces += (text[done:start], self._handles[known])
                done = at
        return "".join([*pieces, text[done:]])

    def _known_at(self, text: str, start: int) -> str:
        """The longest that is more than a word and begins there."""
        for length in self._lengths.get(text[start : start + LEAST_LETTERS], ()):
            own_id = text[start : start + length]
            if own_id in self._handles and not _WORD.match(text, start + length):
                return own_id
        return ""


def in_percents(own_id: str) -> set[str]:
    """How an id may stand in a URI (RFC 3986, section 2.1), where it cannot as it is: writers differ in what they
    leave as it is."""
    if _UNRESERVED.fullmatch(own_id):
        return set()
    return {others.sub(_percents_of, own_id) for others in _OTHERS_IN_URIS} - {own_id}


def _percents_of(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())


def out_of_percents(text: str) -> str:
    """What a text in percents says; itself, where that is no text."""
    try:
        return _PERCENTS.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode(), text)
    except UnicodeDecodeError:
        return text


def _lengths_of(handles: Mapping[str, str]) -> dict[str, list[int]]:
    """The longest first."""
    lengths: dict[str, set[int]] = {}
    for own_id in handles:
        if not _WORD.fullmatch(own_id):
            lengths.setdefault(own_id[:LEAST_LETTERS], set()).add(len(own_id))
    return {head: sorted(found, reverse=True) for head, found in lengths.items()}
