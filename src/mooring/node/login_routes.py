"""Finding the routes of a login in an app, as the SDKs and FastMCP put them there.

They are looked for in the app's `routes`, as Starlette and FastAPI have them, through mounts and middleware. Nothing is
imported for it: what has `routes` is asked for them, and what has `app` is looked into.

A login is where `/authorize` and `/token` are side by side. To it belong, on the same level:

    routes                                         for
    ---------------------------------------------  ------------------------------------------------------------------
    those of these names (`_NAMES`)                clients, codes, tokens, and the keys that tokens are signed with
    those that end in `/callback`                  where the login provider sends the browser back to
    those that the app's OAuth provider answers    pages of its own, such as FastMCP's `/consent`

The documents below `/.well-known/` are not among them, but for the keys: they say the same on every node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_NEEDED: Final = frozenset({"/authorize", "/token"})
_NAMES: Final = _NEEDED | {
    "/register",
    "/revoke",
    "/introspect",
    "/consent",
    "/login",
    "/logout",
    "/jwks",
    "/jwks.json",
    "/.well-known/jwks.json",
}
_OF_A_PROVIDER: Final = ("load_access_token", "exchange_authorization_code")
_DEPTH: Final = 20
"""Of apps within apps: one that contains itself has no end."""


def login_paths(app: object) -> tuple[str, ...]:
    """The paths of all logins in the app, in its order."""
    return tuple(dict.fromkeys(_logins_in(app, "", _DEPTH)))


def _logins_in(app: object, above: str, depth: int) -> Iterator[str]:
    routes = _routes_of(app)
    if not routes:  # a mount has none where something is around the app that it mounts
        inner = getattr(app, "app", None)
        if inner is not None and depth:
            yield from _logins_in(inner, above, depth - 1)
        return
    here = [(path, route) for route in routes if isinstance(path := getattr(route, "path", None), str)]
    if {path for path, _ in here} >= _NEEDED:
        yield from (above + path for path, route in here if _is_of_login(path, route))
    for route in routes if depth else ():
        path = getattr(route, "path", "")
        if not hasattr(route, "endpoint") and isinstance(path, str) and "{" not in path:
            yield from _logins_in(route, above + path.rstrip("/"), depth - 1)


def _routes_of(app: object) -> list[Any]:
    routes = getattr(app, "routes", None)
    return list(routes) if isinstance(routes, list | tuple) else []


def _is_of_login(path: str, route: object) -> bool:
    if "{" in path or not hasattr(route, "endpoint"):
        return False
    provider = getattr(getattr(route, "endpoint", None), "__self__", None)
    is_providers = all(hasattr(provider, name) for name in _OF_A_PROVIDER)
    return path in _NAMES or path.endswith("/callback") or is_providers
