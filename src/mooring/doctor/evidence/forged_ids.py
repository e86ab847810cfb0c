"""Session ids that nobody gave out: of the shape of a real one, or made from it by a small change."""

from __future__ import annotations

import re
import secrets
import string
import uuid
from typing import Final

_HEX: Final = frozenset(string.hexdigits.lower())
_BASE64: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
_SEPARATOR: Final = re.compile(r"[.:|~/_-]")
_ENOUGH: Final = 16
"""So many characters by chance, and it is nobody's session: not even of a server that counts them."""
_LONG: Final = 4000


def invented_like(session_id: str) -> str:
    """Another id of the same shape: each letter and digit gives way to one of its kind, all others stay.

    An id too short to be nobody's by chance is made longer.
    """
    if _UUID.fullmatch(session_id):
        return str(uuid.uuid4())
    is_hex = set(session_id) - set("-.:_") <= _HEX
    invented = "".join(_another(char, is_hex) for char in session_id)
    return invented if sum(char.isalnum() for char in session_id) >= _ENOUGH else invented + secrets.token_hex(_ENOUGH)


def _another(char: str, is_hex: bool) -> str:
    if is_hex and char in _HEX:
        return secrets.choice(sorted(_HEX))
    for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if char in kind:
            return secrets.choice(kind)
    return char


def altered(session_id: str) -> str:
    """The same id with its last character changed, in a bit that every reading of it has to see.

    The last bits of a text in base64 may mean nothing; the first of its last character always does.
    """
    kept, last = session_id[:-1], session_id[-1:]
    if set(session_id) - set("-.:_") <= _HEX:
        return kept + (f"{int(last, 16) ^ 8:x}" if last in _HEX else "0")
    if last not in _BASE64:
        return kept + ("A" if last in "-_+/=" else "0")
    return kept + _BASE64[_BASE64.index(last) ^ 32 if _BASE64.index(last) ^ 32 < len(_BASE64) else 0]


def same_beginning(session_id: str) -> str | None:
    """Its first part, which often says where the session lives, and something else behind it; None without parts."""
    found = _SEPARATOR.search(session_id)
    if found is None or found.end() == len(session_id):
        return None
    return session_id[: found.end()] + invented_like(session_id[found.end() :])


def odd_ids() -> dict[str, str]:
    """Ids of characters that HTTP allows in a header, and that mean something to a path, a query or a template."""
    chance = secrets.token_hex(_ENOUGH)
    return {
        "too_long": (secrets.token_hex(_LONG // 2))[:_LONG],
        "path": f"../../{chance}",
        "percent": f"%00%0d%0a{chance}",
        "spaces": f"{chance[:8]} {chance[8:]}",
        "quotes": f"\"'{chance}'\"",
    }
