"""How what is written of a session is kept from all who can read the store, or write to it.

AES-256-GCM, with a key for each session, derived (HMAC-SHA256) from the cluster secret, the key prefix and the
session's id. What a text is of (its field, and its place there) is authenticated with it. So reading the store gives
nothing of what sessions do, nothing in it can be forged, and nothing put in another place or under another session.

    1 byte    version: 1. No JSON text begins with it
    4 bytes   which secret: of several, the one that was first when it was sealed
    12 bytes  nonce, random
    …         the text, encrypted, and 16 bytes that prove it

With a key of its own a session may have 2**32 texts before two nonces are likely to be the same.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mooring.core.ids import derive_key
from mooring.errors import SealBroken

NONCE_BYTES: Final = 12
OVERHEAD_BYTES: Final = 33
"""By how much a sealed text is longer."""

_VERSION: Final = b"\x01"
_KEY_ID_BYTES: Final = 4
_HEAD_BYTES: Final = 1 + _KEY_ID_BYTES + NONCE_BYTES


def is_sealed(text: bytes) -> bool:
    """Whether it has the look of a sealed text; no JSON has."""
    return text.startswith(_VERSION)


class Seals:
    """Seals with the first of a cluster's secrets, and opens what was sealed with any of them.

    Args:
        secrets: one at least.
        prefix: of the keys in the store: what another cluster wrote there does not open.
    """

    def __init__(self, secrets: Sequence[str], prefix: str) -> None:
        keys = [derive_key(secret, f"sealing {prefix}") for secret in secrets]
        self._keys: Mapping[bytes, bytes] = {_id_of(key): key for key in reversed(keys)}
        self._first = _id_of(keys[0])

    def seal(self, text: bytes, session_id: str, what: str, nonce: bytes) -> bytes:
        """
        Args:
            what: the field that it is of, and its place there; to open it, the same has to be said.
            nonce: `NONCE_BYTES` random bytes.
        """
        cipher = _cipher(self._keys[self._first], session_id)
        return _VERSION + self._first + nonce + cipher.encrypt(nonce, text, what.encode())

    def open(self, sealed: bytes, session_id: str, what: str) -> bytes:
        """
        Raises:
            SealBroken: no node of this cluster sealed this for that place, or with a secret that is not known here.
        """
        key = self._keys.get(sealed[1 : 1 + _KEY_ID_BYTES])
        if not is_sealed(sealed) or len(sealed) < OVERHEAD_BYTES:
            raise SealBroken("not sealed")
        if key is None:
            raise SealBroken("sealed with another secret")
        nonce = sealed[1 + _KEY_ID_BYTES : _HEAD_BYTES]
        try:
            return _cipher(key, session_id).decrypt(nonce, sealed[_HEAD_BYTES:], what.encode())
        except InvalidTag:
            raise SealBroken("not what was sealed here") from None


def _id_of(key: bytes) -> bytes:
    return hmac.digest(key, b"id", hashlib.sha256)[:_KEY_ID_BYTES]


def _cipher(key: bytes, session_id: str) -> AESGCM:
    return AESGCM(hmac.digest(key, b"session " + session_id.encode(), hashlib.sha256))
