"""Handles in JSON that is not parsed here: since it passes by in pieces, or since it is in a text of JSON itself.

    a text                                     counts
    -----------------------------------------  ------------------------------------------------------------------------
    is a handle, or begins with one and is     always
    made of it, with blanks around it or none
    holds one, and has no blanks before it     where URIs may be among them: nobody knows which texts are
    begins as a URI does (`x:y`)               the same, whatever stands before the handle and behind it
    tells of one                               never

However it is spelled: apps read JSON in JSON (SDK v2 does so for arguments that are lists or objects), and percents in
URIs (RFC 3986, section 2.1).
"""

from __future__ import annotations

import re
from typing import Final

from mooring.core.handles import FORM, MINTED_FORM, PREFIX, SHORTEST

RARE: Final = PREFIX[-1].encode()

_PREFIX: Final = PREFIX.encode()
_TAIL_BYTES: Final = 4096
"""More than a handle takes that was minted, however it is spelled and encoded."""
_WINDOW_BYTES: Final = 512
"""How far the end of a text is looked for, in either direction."""

_PLAIN: Final = r"2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE]"
"""What handles are made of, in hexadecimal digits."""
_PERCENT: Final = re.compile(rf"%({_PLAIN})")
_PERCENT_BYTES: Final = re.compile(_PERCENT.pattern.encode())
_OTHER_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_OTHER_PERCENT_BYTES: Final = re.compile(_OTHER_PERCENT.pattern.encode())
"""Once the letters are taken out: of nothing that a handle is made of, so that one may begin and end there."""
_ESCAPE: Final = re.compile(rb"(?<!\\)\\++u00([2-7][0-9a-fA-F])")
"""Of what is printed; behind several backslashes in JSON that is in a text of JSON."""
_BLANK: Final = re.compile(
    rb"(?<!\\)\\++(?:u(?i:000[9a-d]|001[c-f]|0085|00a0|1680|200[0-9a]|202[89f]|205f|3000)|[fnrt])"
)
_BLANKS: Final = (
    rb"(?:[\s\x1c-\x1f]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)*+"
)
"""As whoever strips a text of them has them (Python's `str.strip`)."""
_ALL_BLANKS: Final = re.compile(rb"[\x80-\xbf]{0,2}%b" % _BLANKS)
"""Where the first letter may be cut."""
_LETTERS: Final = {b"%02x" % code: bytes([code]) for code in range(0x20, 0x80)}
_RARE_SPELLED: Final = re.compile(rb"\\u007[eE]|(?:%|\\u0025)(?:7|\\u0037)(?:[eE]|\\u00[46]5)")
_PLAIN_IN_JSON: Final = re.compile(rf"\\u00(25|{_PLAIN})".encode())

_MINTED: Final = re.compile(rf"(?<![A-Za-z0-9_-]){MINTED_FORM}(?![A-Za-z0-9_-])".encode())
_ANY: Final = re.compile(rf"(?<![A-Za-z0-9_-]){FORM}(?![A-Za-z0-9_-])".encode())
_REST: Final = re.compile(rb'(?:[^"\\\s]|\\++(?:/|u[0-9a-fA-F]{4}))*+%b' % _BLANKS)
_QUOTE: Final = re.compile(rb'\\*+"')
_SCHEME: Final = re.compile(rb"\s*[A-Za-z][A-Za-z0-9+.-]*:\S")


def may_hold_one(data: bytes) -> bool:
    """Whether a handle may be in there, however it is spelled: one look for a single byte finds nearly all that do not.

    Not of UTF-16 and UTF-32.
    """
    if RARE not in data:
        return _spells_rare(data)
    if _PREFIX in data or (b"%" in data and data.rfind(b"%6") >= 0):
        return True
    return data.rfind(rb"\u00") >= 0 and _PLAIN_IN_JSON.search(data) is not None


def in_text(text: str) -> list[str]:
    """Those that are whole texts of JSON, or such texts are made of, in a text that is JSON itself."""
    if len(text) < SHORTEST:  # of these a body may have hundreds of thousands
        return []
    data = text.encode("utf-8", "surrogatepass")
    return _whole_texts(data, _ANY, with_uris=False) if may_hold_one(data) else []


def without_percents(uri: str) -> str:
    """A URI with the letters of handles as they are, where it has them in percents, and what else is as no letter."""
    if "%" not in uri:
        return uri
    return _OTHER_PERCENT.sub("/", _PERCENT.sub(lambda found: chr(int(found[1], 16)), uri))


class PassingSearch:
    """Looks for minted handles in a body as it passes by, however large: in all of its texts."""

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
        if RARE not in data and not _spells_rare(data):
            return []
        return _whole_texts(data, _MINTED, with_uris=True)


def _spells_rare(data: bytes) -> bool:
    # Each of these takes longer than the one before; of what finds a text, `rfind` is the quickest by far.
    if b"\\" in data and data.rfind(rb"\u00") >= 0:
        is_likely = data.rfind(rb"\u007") >= 0 or data.rfind(rb"\u0025") >= 0 or data.rfind(rb"%\u0037") >= 0
        if is_likely and _RARE_SPELLED.search(data) is not None:
            return True
    return b"%" in data and data.rfind(b"%7") >= 0 and _RARE_SPELLED.search(data) is not None


def _whole_texts(data: bytes, form: re.Pattern[bytes], *, with_uris: bool) -> list[str]:
    """Each once."""
    if b"\\" in data:
        data = _ESCAPE.sub(_letter, _BLANK.sub(b" ", data))
    if with_uris and b"%" in data:
        data = _OTHER_PERCENT_BYTES.sub(b"/", _PERCENT_BYTES.sub(_letter, data))
    if _PREFIX not in data:
        return []
    found = (one for one in form.finditer(data) if _counts(data, one.start(), one.end(), with_uris=with_uris))
    return list(dict.fromkeys(one[0].decode() for one in found))


def _letter(found: re.Match[bytes]) -> bytes:
    return _LETTERS[found[1].lower()]


def _counts(data: bytes, start: int, end: int, *, with_uris: bool) -> bool:
    """Whether the text that has a handle there is meant for it."""
    since = max(0, start - _WINDOW_BYTES)
    quote = data.rfind(b'"', since, start)
    before = data[max(quote + 1, since) : start]
    if (quote >= 0 or since > 0) and _ALL_BLANKS.fullmatch(before):  # more blanks than are looked at are no other text
        return _is_all(data, end)
    if not with_uris or (quote < 0 and since == 0):  # where its text begins has passed by
        return False
    is_one_word = len(before.split()) <= 1 and not before[-1:].isspace()
    return is_one_word or (quote >= 0 and _SCHEME.match(before) is not None)


def _is_all(data: bytes, end: int) -> bool:
    """Whether nothing stands behind it in its text but what is made of it, and blanks."""
    rest = _REST.match(data, end)
    stop = end if rest is None else rest.end()
    return stop - end >= _WINDOW_BYTES if stop == len(data) else _QUOTE.match(data, stop) is not None
