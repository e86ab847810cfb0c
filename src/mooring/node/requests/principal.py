"""Who sent a request, where the app (or something around Mooring) authenticates.

A session belongs to a principal: issuer, subject and client, and never a hash of the token, which is refreshed.
Authentication middleware puts its user into the ASGI scope, which all layers share.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Self
from weakref import WeakSet

from mooring.asgi import Scope

logger = logging.getLogger("mooring.sessions")

NOBODY = ""

USER = "user"

_warned: WeakSet[type] = WeakSet()
"""Of these classes of users."""


def principal_of(scope: Scope) -> str:
    """Issuer, subject and client as one text, `NOBODY` where nobody authenticated.

    Understands the MCP SDKs' user (an `access_token` with `claims`, `subject`, `client_id`), and one whose
    claims alone name the subject; and any user with Starlette's `is_authenticated` and `display_name`.
    """
    user = scope.get(USER)
    if user is None:
        return NOBODY
    token = getattr(user, "access_token", None)
    if token is not None:
        claims = getattr(token, "claims", None)
        issuer, subject = (claims.get("iss"), claims.get("sub")) if isinstance(claims, dict) else (None, None)
        subject, client = _first(getattr(token, "subject", None), subject), getattr(token, "client_id", None)
        if subject is not None or client is not None:
            return _join(issuer, subject, client)
        # A token that names nobody, as one that is a text: then the user does, who has it.
        return _named(user, issuer) if getattr(user, "is_authenticated", True) else NOBODY
    is_authenticated = _said(user, "is_authenticated")
    if is_authenticated is None:
        _warn_of(
            user, "has no is_authenticated, and counts as nobody, whose sessions are open to all who know their ids"
        )
        return NOBODY
    return _named(user, None) if is_authenticated else NOBODY


def _named(user: Any, issuer: Any) -> str:
    name = _said(user, "identity") or _said(user, "display_name")
    if name is None:
        _warn_of(user, "has neither identity nor display_name, so that each of them may use the sessions of the others")
    return _join(issuer, name, None)


def _warn_of(user: Any, what: str) -> None:
    """Once for each class: the app authenticates, and we cannot tell whom."""
    if type(user) not in _warned:
        _warned.add(type(user))
        logger.warning(
            "scope['user'] is of the class %s, which %s: let it say what Starlette's BaseUser does",
            type(user).__qualname__,
            what,
        )


def _said(user: Any, name: str) -> Any:
    """What a user says; Starlette's base class raises for what an app has not implemented."""
    try:
        return getattr(user, name, None)
    except NotImplementedError:
        return None


def _first(said: Any, claimed: Any) -> Any:
    """The subject: verifiers that know no `subject` say it in their claims alone, and give all of a client's users one
    `client_id`."""
    return claimed if said is None else said


def _join(issuer: Any, subject: Any, client: Any) -> str:
    return json.dumps([None if part is None else str(part) for part in (issuer, subject, client)])


class WatchedScope(dict[str, Any]):
    """A scope that tells when its user is named, or named again.

    Args:
        tell: called with the scope; what it changes in there is seen by whoever comes after the authentication.
    """

    def __init__(self, scope: Scope, tell: Callable[[Scope], None]) -> None:
        super().__init__(scope)
        self._tell = tell

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        if key == USER:
            self._tell(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *others: Any, **more: Any) -> None:
        for key, value in dict(*others, **more).items():
            self[key] = value

    def __ior__(self, other: Any) -> Self:  # type: ignore[override, misc]
        self.update(other)
        return self
