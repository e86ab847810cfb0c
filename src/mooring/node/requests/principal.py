"""Who sent a request, where the app (or something around Mooring) authenticates.

A session belongs to the principal that opened it: issuer, subject and client, and never a hash of the token, which
is refreshed. Authentication middleware puts its user into the ASGI scope, which all layers share; so it is there
once the app reads the body or starts its answer.
"""

from __future__ import annotations

import json
from typing import Any

from mooring.asgi import Scope

NOBODY = ""


def principal_of(scope: Scope) -> str:
    """Issuer, subject and client as one text, `NOBODY` where nobody authenticated.

    Understands the MCP SDKs' user (an `access_token` with `claims`, `subject`, `client_id`) and any user with
    Starlette's `is_authenticated` and `display_name`.
    """
    user = scope.get("user")
    if user is None:
        return NOBODY
    token = getattr(user, "access_token", None)
    if token is not None:
        issuer = (getattr(token, "claims", None) or {}).get("iss")
        return _join(issuer, getattr(token, "subject", None), getattr(token, "client_id", None))
    if not getattr(user, "is_authenticated", False):
        return NOBODY
    return _join(None, _said(user, "identity") or _said(user, "display_name"), None)


def _said(user: Any, name: str) -> Any:
    """What a user says; Starlette's base class raises for what an app has not implemented."""
    try:
        return getattr(user, name, None)
    except NotImplementedError:
        return None


def _join(issuer: Any, subject: Any, client: Any) -> str:
    return json.dumps([None if part is None else str(part) for part in (issuer, subject, client)])
