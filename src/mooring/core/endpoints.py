"""Which paths of an app are MCP endpoints, as far as one node knows.

    known from        such as
    ----------------  ----------------------------------------------------------------------------------
    the settings      `/mcp`, `/a/mcp`, `/servers/{id}/mcp`, where `{id}` stands for one part of a path
    what it served    any path at which the app has given out a session id, unless the list is pinned

What lies below an endpoint belongs to it, but for the endpoint `/`, below which is everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

FOUND_AT_MOST: Final = 1_000
"""An app that gives out sessions at more paths than that is told of them by a pattern."""
FOUND_LENGTH: Final = 300
"""Of a path that may be found. Clients choose paths, where an app takes any; each is told with every heartbeat."""

_VARIABLE: Final = re.compile(r"\{[^/{}]+\}")


class Endpoints:
    """
    Args:
        patterns: those of the settings.
        finds: whether others may be found.
    """

    def __init__(self, patterns: Iterable[str], *, finds: bool) -> None:
        self._patterns = tuple(patterns)
        self.finds = finds
        self._paths = {pattern for pattern in self._patterns if not _VARIABLE.search(pattern)}
        variable = [_expression(pattern) for pattern in self._patterns if pattern not in self._paths]
        self._variable = re.compile("|".join(variable)) if variable else None
        # In the order that they were found in.
        self._found: dict[str, None] = {}
        self._longest = max(map(len, self._paths), default=0)

    @property
    def is_full(self) -> bool:
        """Whether no more are found."""
        return len(self._found) >= FOUND_AT_MOST

    @property
    def known(self) -> tuple[str, ...]:
        """All of them: those of the settings as they stand there, and those that were found."""
        return (*self._patterns, *self._found)

    def of(self, path: str) -> str | None:
        """The endpoint that is at this path, or that it lies below; None where there is none."""
        if path in self._paths:
            return path
        above = path[: self._longest + 1]  # below what is known: a path may have tens of thousands of parts
        while above := above.rpartition("/")[0]:
            if above in self._paths:
                return above
        match = self._variable.match(path) if self._variable else None
        return match[0] if match else None

    def find(self, path: str) -> bool:
        """The app has given out a session at this path; returns whether that makes a new endpoint.

        One with braces would stand for other paths as well, to whoever hears of it.
        """
        path = path.rstrip("/") or "/"
        if not self.finds or self.is_full or self.of(path) is not None:
            return False
        if len(path) > FOUND_LENGTH or "{" in path or "}" in path:
            return False
        self._paths.add(path)
        self._found[path] = None
        self._longest = max(self._longest, len(path))
        return True


def _expression(pattern: str) -> str:
    """Matches the endpoint itself, at the beginning of a path."""
    parts = [re.escape(part) for part in _VARIABLE.split(pattern)]
    return "(?:" + "[^/]+".join(parts) + ")(?=/|$)"
