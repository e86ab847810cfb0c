"""The routes of an app, as Starlette and FastAPI have them, through mounts and middleware.

Nothing is imported for it: what has `routes` is asked for them, and what has `app` is looked into.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_DEPTH: Final = 20
"""Of apps within apps: one that contains itself has no end."""


def levels_of(app: object, above: str = "", depth: int = _DEPTH) -> Iterator[tuple[str, list[Any]]]:
    """The routes that stand side by side, with the path above them: the app's own, then those of what it mounts.

    What is mounted at a path with a variable in it is left out.
    """
    routes = _routes_of(app)
    if not routes:  # a mount has none where something is around the app that it mounts
        inner = getattr(app, "app", None)
        if inner is not None and depth:
            yield from levels_of(inner, above, depth - 1)
        return
    yield above, routes
    for route in routes if depth else ():
        path = getattr(route, "path", "")
        if not is_leaf(route) and isinstance(path, str) and "{" not in path:
            yield from levels_of(route, above + path.rstrip("/"), depth - 1)


def apps_in(app: object) -> Iterator[object]:
    """The app, what it is around, and what it mounts, each once."""
    waiting, seen = [app], set[int]()
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting.append(getattr(one, "app", None))
        waiting += [getattr(route, "app", None) for route in _routes_of(one) if not is_leaf(route)]


def is_leaf(route: object) -> bool:
    """Whether it answers requests itself, and mounts nothing."""
    return hasattr(route, "endpoint")


def _routes_of(app: object) -> list[Any]:
    routes = getattr(app, "routes", None)
    return list(routes) if isinstance(routes, list | tuple) else []
