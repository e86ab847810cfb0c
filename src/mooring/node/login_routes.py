"""Finding the routes of a login in an app, as the SDKs and FastMCP put them there.

A login is where `/authorize` and `/token` are side by side. To it belong, on the same level:

    routes                                         for
    ---------------------------------------------  ------------------------------------------------------------------
    those of these names (`_NAMES`)                clients, codes, tokens, and the keys that tokens are signed with
    those that end in `/callback`                  where the login provider sends the browser back to
    those that the app's OAuth provider answers    pages of its own, such as FastMCP's `/consent`

The documents below `/.well-known/` are not among them, but for the keys: they say the same on every node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from mooring.app_routes import is_leaf, levels_of

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


def login_paths(app: object) -> tuple[str, ...]:
    """The paths of all logins in the app, in its order."""
    return tuple(dict.fromkeys(path for above, routes in levels_of(app) for path in _logins_among(routes, above)))


def _logins_among(routes: Iterable[Any], above: str) -> Iterator[str]:
    here = [(path, route) for route in routes if isinstance(path := getattr(route, "path", None), str)]
    if {path for path, _ in here} >= _NEEDED:
        yield from (above + path for path, route in here if _is_of_login(path, route))


def _is_of_login(path: str, route: object) -> bool:
    if "{" in path or not is_leaf(route):
        return False
    provider = getattr(getattr(route, "endpoint", None), "__self__", None)
    is_providers = all(hasattr(provider, name) for name in _OF_A_PROVIDER)
    return path in _NAMES or path.endswith("/callback") or is_providers
