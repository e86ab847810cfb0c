"""Session ids: `<shard>.<random>.<mac>`.

- shard: 5 characters of `[a-z2-7]`; the unit of ownership, so that any node, and any load balancer with a
  regular expression, knows the owner without asking anyone.
- random: 128 bits.
- mac: HMAC-SHA256 over the rest with a cluster secret, cut to 64 bits. A forged id is refused without a look
  into Redis, and no text from outside becomes a key or a log line before it is verified.

Random and mac are base64url without padding: only visible ASCII, as the specification asks of `Mcp-Session-Id`
(2025-11-25, Basic / Transports / Session Management).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

SHARD_LENGTH: Final = 5
ENTROPY_BYTES: Final = 16
SHARD_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"

_MAC_BYTES: Final = 8
_SHARD = re.compile(rf"[a-z2-7]{{{SHARD_LENGTH}}}", re.ASCII)
_BRIEF = re.compile(rf"[a-z2-7]{{{SHARD_LENGTH}}}\.[A-Za-z0-9_-]{{4}}(\.\.\.)?", re.ASCII)
_SESSION_ID = re.compile(rf"[a-z2-7]{{{SHARD_LENGTH}}}\.[A-Za-z0-9_-]{{22}}\.[A-Za-z0-9_-]{{11}}", re.ASCII)


def derive_key(secret: str, purpose: str) -> bytes:
    """A key for one purpose, so that a signature made for one thing proves nothing about another."""
    return hmac.digest(secret.encode(), f"mooring/1 {purpose}".encode(), hashlib.sha256)


def shard_from_entropy(entropy: bytes) -> str:
    """A shard name from at least `SHARD_LENGTH` random bytes; 32 divides 256, so every name is equally likely."""
    return "".join(SHARD_ALPHABET[byte % 32] for byte in entropy[:SHARD_LENGTH])


def brief(session_id: str) -> str:
    """A session id cut short for a log line: anyone who knows the whole id can use the session."""
    return f"{session_id[: SHARD_LENGTH + 5]}..."


def is_brief(text: str) -> bool:
    """Whether `text` has the form of a session id cut short, with or without its dots."""
    return _BRIEF.fullmatch(text) is not None


def with_brief_ids(text: str) -> str:
    """The text with each session id in it as `brief` has it, wherever it stands."""
    return _SESSION_ID.sub(lambda found: brief(found[0]), text)


def has_session_form(text: str) -> bool:
    """Whether `text` has the form of a session id, minted here or not."""
    return _SESSION_ID.fullmatch(text) is not None


def is_shard(text: str) -> bool:
    """Whether `text` has the form of a shard's name."""
    return _SHARD.fullmatch(text) is not None


class SessionIds:
    """Mints and verifies the session ids of one cluster.

    Args:
        secrets: one at least: the first mints, all verify.
    """

    def __init__(self, *secrets: str) -> None:
        self._keys = [derive_key(secret, "session id") for secret in secrets]

    def mint(self, shard: str, entropy: bytes) -> str:
        """A session id on `shard` from `ENTROPY_BYTES` random bytes."""
        if not is_shard(shard) or len(entropy) != ENTROPY_BYTES:
            raise ValueError(f"a session id takes a shard of {SHARD_LENGTH} letters and {ENTROPY_BYTES} random bytes")
        body = f"{shard}.{_base64url(entropy)}"
        return f"{body}.{_mac(self._keys[0], body)}"

    def shard_of(self, text: str) -> str | None:
        """The shard that `text` names, or None where this cluster did not mint it. Safe for any text."""
        return None if self.secret_of(text) is None else text[:SHARD_LENGTH]

    def secret_of(self, text: str) -> int | None:
        """The number of the secret that `text` was minted with, or None where it was with none. Safe for any text."""
        if not has_session_form(text):
            return None
        body, _, mac = text.rpartition(".")
        matches = (hmac.compare_digest(mac, _mac(key, body)) for key in self._keys)
        return next((number for number, is_it in enumerate(matches) if is_it), None)


def _mac(key: bytes, body: str) -> str:
    return _base64url(hmac.digest(key, body.encode(), hashlib.sha256)[:_MAC_BYTES])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
