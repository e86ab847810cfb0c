"""What the operator asks of the doctor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from yarl import URL

LEAST_SESSIONS: Final = 2
"""One to look at, and one to delete."""

_LONG: Final = 8
"""A shorter word in a header (`X-Tenant: 7`) is no secret, and to hide each 7 would leave no text readable. In a query
one with digits among its letters may be a secret, whatever its name."""
_SHORT: Final = 4
"""The same where the name speaks of a secret."""
_NAMES_A_SECRET: Final = re.compile(r"auth|cookie|cred|key|passw|secret|sig|token", re.IGNORECASE)
_OF_A_LOGIN: Final = re.compile(r"state|nonce|code|code_challenge", re.IGNORECASE)
"""What OAuth gives to one browser alone."""


def secrets_in_query(query: str) -> set[str]:
    """What in the query of a URL may be a secret, as it is written there and as it is meant."""
    values = set[str]()
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        is_random = len(value) >= _LONG and not value.isdigit() and any(map(str.isdigit, value))
        is_named = _NAMES_A_SECRET.search(name) or _OF_A_LOGIN.fullmatch(name)
        if is_random or (is_named and len(value) >= _SHORT):
            values |= {value, unquote_plus(value)}
    return values


@dataclass(frozen=True, slots=True)
class Plan:
    """
    Attributes:
        url: the MCP endpoint, http or https, without credentials.
        sessions: the most sessions that are opened in the whole run; at least `LEAST_SESSIONS`.
        calls: the calls of each session in each of the ways.
        headers: headers for every request to the MCP endpoint, as (name, value).
        tokens: bearer tokens; the first one is for everything, a second one is another principal's.
        tool: the tool to call where a call is made; None for pings and lists only.
        then_tool: the tool that takes what the first one hands out; None for none.
        other_path: a path beside MCP on the same host, to see whether it is still balanced.
        timeout_seconds: how long one request may take.
        idle_seconds: how long a silent stream is held; 0 for not at all.
        read_only: nothing leaves but what opens and closes sessions, lists and pings.
        only: the names of the checks to run; empty for all.
        status_url: a Mooring node's status page.
        most_seconds: for all of one run but its closing, where the operator asks for no longer silence.
        watch_seconds: how long sessions are watched while a node is lost; None for no watching, infinity until
            interrupted.
    """

    url: URL
    sessions: int = 20
    calls: int = 10
    headers: tuple[tuple[str, str], ...] = ()
    tokens: tuple[str, ...] = ()
    tool: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    then_tool: str | None = None
    other_path: str | None = None
    timeout_seconds: float = 10.0
    idle_seconds: float = 35.0
    read_only: bool = False
    only: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()
    status_url: URL | None = None
    status_token: str | None = None
    watch_seconds: float | None = None
    most_seconds: float = 100.0

    @property
    def tool_params(self) -> dict[str, Any]:
        """What `tools/call` takes, where a tool is named."""
        return {"name": self.tool, "arguments": dict(self.arguments)}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown, the longest first."""
        values = {*self.tokens, self.status_token or ""}
        for name, value in self.headers:
            values |= {word for word in (value, *value.split()) if len(word) >= _LONG}
            if _NAMES_A_SECRET.search(name):
                values |= {word for word in (value, *value.split()[-1:]) if len(word) >= _SHORT}
        queries = [url.raw_query_string for url in (self.url, self.status_url) if url]
        for query in (*queries, (self.other_path or "").partition("?")[2]):
            values |= secrets_in_query(query)
        return tuple(sorted(values - {""}, key=len, reverse=True))
