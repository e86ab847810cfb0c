"""Which principal a bearer token stands for, as far as it says so itself."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

_IDENTITY: Final = ("iss", "sub", "client_id", "azp")
"""Issuer, subject and client: a session belongs to them, and not to a token, which is refreshed."""


def same_principal(one: str, other: str) -> bool:
    """Whether both tokens are known to be of the same principal. Opaque ones say nothing, unless they are equal."""
    if one == other:
        return True
    claims, others = _claims(one), _claims(other)
    if not claims.get("sub") or not others.get("sub"):
        return False
    return all(claims.get(name) == others.get(name) for name in _IDENTITY)


def _claims(token: str) -> dict[str, Any]:
    """The claims of a JWT (RFC 7519), not verified: they are compared, and trusted with nothing."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        value = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
