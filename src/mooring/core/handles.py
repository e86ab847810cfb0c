"""Handles: `mh~<shard>.<origin>.<what it is>.<seal>`, the modern era's counterpart to session ids (`mooring.core.ids`).

    origin  what it is          means
    ------  ------------------  ------------------------------------------------------------------------------------
    m       `<kind>.<random>`   minted for a server's author; what it stands for is in the memory of one process
    s       `<kind>.<random>`   the same, and what it stands for survives its process: its author keeps it elsewhere
    w       the id              an id that the server gave out by itself, wrapped
    x       the id in base64    the same, of an id that is more than letters, digits, `-` and `_`

- prefix and shard: so that it is recognised wherever it stands, and any load balancer knows its owner. `~` is rare in
  bodies, and no JSON encoder escapes it; so a body without a handle is told apart by one look for a single byte.
- seal: 6 bytes that tell whose it is, to anyone who knows the secret, then 9 bytes of HMAC-SHA256 over all the rest.
  Its key is not that of session ids: neither passes for the other.

All of it is visible ASCII that JSON and headers carry unchanged. A text that does not verify becomes no key and no log
line.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mooring.core.ids import SHARD_LENGTH, derive_key, is_shard

PREFIX: Final = "mh~"
RANDOM_BYTES: Final = 16
WRAPPED_LENGTH: Final = 64 * 1024
"""Of an id as it is written in a handle; a longer one is not wrapped."""

_READ_LATELY: Final = 256
"""So many are not verified again: one call asks for its own several times."""
_READ_AGAIN_LENGTH: Final = 1024
"""A longer one is verified each time: whoever asks may send texts as long as a body, and they would all be held."""
_BEGIN: Final = PREFIX[:-1]
_RARE: Final = PREFIX[-1]
_SHARD_END: Final = len(PREFIX) + SHARD_LENGTH
_OWNER_BYTES: Final = 6
_MAC_BYTES: Final = 9
_OWNER_LENGTH: Final = 8
_SEAL_LENGTH: Final = 20
_LONGEST: Final = _SHARD_END + len(".w.") + WRAPPED_LENGTH + len(".") + _SEAL_LENGTH
"""Of a handle; what is longer is none, and is not remembered."""
SHORTEST: Final = _SHARD_END + len(".w.") + 1 + len(".") + _SEAL_LENGTH
"""Of a handle, by its form."""
_OF_NOBODY: Final = "A" * _OWNER_LENGTH
_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SHARD = rf"{PREFIX}[a-z2-7]{{{SHARD_LENGTH}}}\."
_MINTED = r"[ms]\.[a-z][a-z0-9_]{0,31}\.[A-Za-z0-9_-]{22}"
_SEAL = rf"\.[A-Za-z0-9_-]{{{_SEAL_LENGTH}}}"
FORM: Final = rf"{_SHARD}(?:{_MINTED}|[wx]\.[A-Za-z0-9_-]{{1,{WRAPPED_LENGTH}}}){_SEAL}"
"""A pattern of what may be a handle."""
_MEANT = re.compile(rf"{_SHARD}\S*\s*")
_WHOLE = re.compile(FORM, re.ASCII)
MINTED_FORM: Final = rf"{_SHARD}{_MINTED}{_SEAL}"
"""The same of one that was minted, and is not wrapped."""
_INSIDE = re.compile(rf"(?<![A-Za-z0-9_-]){FORM}(?![A-Za-z0-9_-])", re.ASCII)
_ANYWHERE = re.compile(FORM.replace(_RARE, "(?:~|%7[Ee])"), re.ASCII)
"""Whatever stands beside it, as the last letter of an escape does, and in percents, as in a URI."""


class Origin(enum.Enum):
    """Where a handle comes from; see the table above."""

    MINTED = "m"
    SURVIVING = "s"
    WRAPPED = "w"
    WRAPPED_ENCODED = "x"


@dataclass(frozen=True, slots=True)
class Handle:
    """A handle that this cluster minted or wrapped.

    Attributes:
        own_id: of a wrapped one, as the server knows it; "" of others.
        kind: what the author calls such things; "" of wrapped ones.
        is_owned: it is some principal's, and not for everybody.
    """

    text: str
    shard: str
    origin: Origin
    own_id: str
    kind: str
    is_owned: bool

    @property
    def is_wrapped(self) -> bool:
        return self.origin in (Origin.WRAPPED, Origin.WRAPPED_ENCODED)

    @property
    def survives(self) -> bool:
        return self.origin is Origin.SURVIVING


def is_kind(text: str) -> bool:
    """Whether a handle may be of this kind: it is shown to models."""
    return _KIND.fullmatch(text) is not None


def is_meant(text: str) -> bool:
    """Whether whoever wrote this text meant a handle, a right one or not, and did not write about one."""
    return text.startswith(PREFIX) and _MEANT.fullmatch(text) is not None


def found_in(text: str) -> list[str]:
    """What has the form of a handle in a longer text, in its order."""
    return [found[0] for found in _INSIDE.finditer(text)] if PREFIX in text else []


def meant_in(text: str) -> list[str]:
    """The handle that a text is meant for; or those that it begins with and is made of, as `<handle>:<tab>` is."""
    return (found_in(text) or [text]) if is_meant(text) else []


def spellings(handle: str) -> tuple[str, ...]:
    """As it stands in what clients send: some write `~` in percents, in URIs (RFC 3986, section 2.4)."""
    return handle, *(handle.replace(_RARE, percents) for percents in ("%7E", "%7e"))


def brief(handle: str) -> str:
    """A handle cut short for a log line: anyone who knows the whole of it can use it."""
    return f"{handle[:_SHARD_END]}..." if is_meant(handle) else "(no handle)"


def with_brief_handles(text: str) -> str:
    """The text with each handle in it as `brief` has it, wherever it stands, and however it is spelled."""
    return _ANYWHERE.sub(_brief_of, text) if _BEGIN in text else text


def _brief_of(found: re.Match[str]) -> str:
    return f"{found[0].partition('.')[0]}..."


class Handles:
    """Mints, wraps and verifies the handles of one cluster.

    Args:
        secrets: one at least: the first mints, all verify.
    """

    def __init__(self, *secrets: str) -> None:
        self._keys = [derive_key(secret, "handle") for secret in secrets]
        self._owner_keys = [derive_key(secret, "handle's owner") for secret in secrets]
        self._read_lately = lru_cache(_READ_LATELY)(self._read)

    def mint(self, shard: str, kind: str, entropy: bytes, principal: str = "", *, survives: bool = False) -> str:
        """A handle on `shard` from `RANDOM_BYTES` random bytes, for this principal alone; for everybody where "".

        Raises:
            ValueError: no shard, no kind, or too few random bytes.
        """
        if not is_shard(shard) or not is_kind(kind) or len(entropy) != RANDOM_BYTES:
            raise ValueError(
                f"a handle takes a shard, {RANDOM_BYTES} random bytes, and a kind of lower-case letters, digits and "
                "'_', which begins with a letter and has at most 32 of them"
            )
        origin = Origin.SURVIVING if survives else Origin.MINTED
        return self._sealed(f"{PREFIX}{shard}.{origin.value}.{kind}.{_base64url(entropy)}", principal)

    def wrap(self, shard: str, own_id: str, principal: str = "") -> str | None:
        """A server's own id as a handle; None where it is empty, too long, or no text that can be written."""
        if not is_shard(shard):
            raise ValueError("a handle takes a shard")
        origin, written = Origin.WRAPPED, own_id
        if not _PLAIN.fullmatch(own_id):
            try:
                origin, written = Origin.WRAPPED_ENCODED, _base64url(own_id.encode())
            except UnicodeEncodeError:  # half of a surrogate pair
                return None
        if not 0 < len(written) <= WRAPPED_LENGTH:
            return None
        return self._sealed(f"{PREFIX}{shard}.{origin.value}.{written}", principal)

    def read(self, text: str) -> Handle | None:
        """The handle that this text is, as a whole; None where this cluster did not make it. Safe for any text."""
        if len(text) > _LONGEST or not is_meant(text):
            return None
        return self._read_lately(text) if len(text) <= _READ_AGAIN_LENGTH else self._read(text)

    def _read(self, text: str) -> Handle | None:
        number = self._secret_of(text)
        if number is None:
            return None
        body = text[: -_SEAL_LENGTH - 1]
        origin = Origin(body[_SHARD_END + 1])
        what = body[_SHARD_END + 3 :]
        is_wrapped = origin in (Origin.WRAPPED, Origin.WRAPPED_ENCODED)
        own_id = _decoded(what) if origin is Origin.WRAPPED_ENCODED else what
        return Handle(
            text,
            text[len(PREFIX) : _SHARD_END],
            origin,
            own_id if is_wrapped else "",
            "" if is_wrapped else what.partition(".")[0],
            text[-_SEAL_LENGTH : -_SEAL_LENGTH + _OWNER_LENGTH] != _OF_NOBODY,
        )

    def may_use(self, handle: Handle, principal: str) -> bool:
        """Whether it is this principal's, or everybody's."""
        if not handle.is_owned:
            return True
        number = self._secret_of(handle.text)
        body, owner = handle.text[: -_SEAL_LENGTH - 1], handle.text[-_SEAL_LENGTH : -_SEAL_LENGTH + _OWNER_LENGTH]
        return number is not None and hmac.compare_digest(owner, self._owner(number, body, principal))

    def _secret_of(self, text: str) -> int | None:
        """The number of the secret that it was made with."""
        if not is_meant(text) or not _WHOLE.fullmatch(text):
            return None
        rest, mac = text[: -_SEAL_LENGTH + _OWNER_LENGTH], text[-_SEAL_LENGTH + _OWNER_LENGTH :]
        matches = (hmac.compare_digest(mac, _mac(key, rest)) for key in self._keys)
        return next((number for number, is_it in enumerate(matches) if is_it), None)

    def _sealed(self, body: str, principal: str) -> str:
        rest = f"{body}.{self._owner(0, body, principal)}"
        return rest + _mac(self._keys[0], rest)

    def _owner(self, number: int, body: str, principal: str) -> str:
        """What tells whose it is, differently in each handle, so that nobody sees which are of the same principal."""
        if not principal:
            return _OF_NOBODY
        said = f"{body}\0{principal}".encode()
        return _base64url(hmac.digest(self._owner_keys[number], said, hashlib.sha256)[:_OWNER_BYTES])


def _mac(key: bytes, rest: str) -> str:
    return _base64url(hmac.digest(key, rest.encode(), hashlib.sha256)[:_MAC_BYTES])


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> str:
    """It verified, so it is what was encoded here."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
