"""What is sealed in Redis, read and written: whatever does not open is told of once, and counts as not there.

It was written by somebody else, or with a secret that is not known here any more. That costs what it was needed for,
and nothing else.
"""

from __future__ import annotations

import secrets
from typing import Final

from mooring.core.ids import brief
from mooring.core.sealing import NONCE_BYTES, Seals, is_sealed
from mooring.errors import SealBroken
from mooring.store.codec import complain

RECORD_FIELDS: Final = ("initialize", "subscriptions")
"""Those of a session's record that its client wrote. Earlier versions of Mooring did not seal them."""


def seal(seals: Seals, text: bytes, session_id: str, what: str) -> bytes:
    return seals.seal(text, session_id, what, secrets.token_bytes(NONCE_BYTES))


def unseal(seals: Seals, sealed: bytes, session_id: str, what: str) -> bytes | None:
    """
    Args:
        what: a word for it, the stream that it is of, and its place there; blanks between them.
    """
    try:
        return seals.open(sealed, session_id, what)
    except SealBroken as error:
        kind, stream, *_ = [*what.split(" "), ""]
        complain(kind, " of ".join(filter(None, (stream[:60], brief(session_id)))), str(error))
        return None


def seal_field(seals: Seals, name: str, value: bytes | str, session_id: str) -> bytes | str:
    """A field of a record, as it is written; an empty one says nothing."""
    if name not in RECORD_FIELDS or not value:
        return value
    return seal(seals, value if isinstance(value, bytes) else value.encode(), session_id, name)


def unseal_field(seals: Seals | None, name: str, value: bytes, session_id: str) -> bytes:
    """A field of a record, as it was; empty where it does not open, or there is nothing to open it with."""
    if name not in RECORD_FIELDS or not is_sealed(value):
        return value
    return (unseal(seals, value, session_id, name) if seals is not None else None) or b""
