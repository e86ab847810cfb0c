"""What was typed after `mooring doctor`, made into a plan; what is wrong with it is said without repeating a secret."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import typer
from yarl import URL

from mooring.core.text import plain
from mooring.doctor.plan import Plan

STATUS_TOKEN: Final = "MOORING_STATUS_TOKEN"  # noqa: S105 - the name of a variable
MOST_TOKENS: Final = 2

_QUICK_SECONDS: Final = 5.5
"""For all but the closing of sessions, which takes three more at most."""
_QUICK_SESSIONS: Final = 12
_QUICK_CALLS: Final = 4
_QUICK_TIMEOUT_SECONDS: Final = 2.5

_OURS: Final = frozenset(
    {
        *("mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name", "last-event-id"),
        *("accept", "accept-encoding", "content-type", "content-length", "content-encoding", "cookie", "host"),
        *("connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers that decide what is measured, or belong to one connection."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.6.2: what the name of a header is made of."""
_IN_A_HEADER: Final = re.compile(r"[\x21-\x7e]+")
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
"""How a variable is usually named; what looks otherwise may be the token itself, and is not repeated."""


def _wrong(option: str, text: str) -> NoReturn:
    raise typer.BadParameter(text, param_hint=option)


def url_of(text: str, option: str) -> URL:
    """An http or https URL with a host, and without what must not be in one."""
    scheme, mark, rest = text.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in (authority if mark else text):
        _wrong(option, "leave out what stands before the @, which `ps` shows to everyone: use --token-env or --header")
    shown = plain(re.split(r"[?#]", text, maxsplit=1)[0], 200)
    if not text.isprintable() or " " in text:
        _wrong(option, f"{shown!r} holds white space or characters that do not print")
    if not mark:
        suggested = re.sub(r"^https?:/*", "", shown, flags=re.IGNORECASE)
        suggested = f"host{suggested}" if suggested.startswith("/") else suggested or "host/mcp"
        _wrong(option, f"{shown!r} has no scheme: write http://{suggested} or https://{suggested}")
    if scheme.lower() not in ("http", "https"):
        _wrong(option, f"{shown!r}: MCP is served at a URL that begins with http:// or https://")
    if not authority or authority.startswith(":"):
        _wrong(option, f"{shown!r} names no host: write {scheme}://host/mcp")
    if "#" in rest:
        _wrong(option, f"{shown!r}: leave out the # and what follows, which never reaches a server")
    try:
        url = URL(text)
        _ = url.host  # what cannot be decoded is found out here
    except ValueError as error:
        _wrong(option, f"{shown!r} is not a URL: {plain(str(error))}")
    return url


def headers_of(texts: Sequence[str], *, has_token: bool) -> tuple[tuple[str, str], ...]:
    """Each `NAME: VALUE`. Their values are never repeated."""
    headers = tuple(_header(text, f"--header ({number} of {len(texts)})") for number, text in enumerate(texts, 1))
    if has_token and any(name.lower() == "authorization" for name, _ in headers):
        _wrong("--header", "Authorization is made from the token of --token-env: give only one of them")
    return headers


def _header(text: str, option: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        _wrong(option, "a header is written as 'NAME: VALUE', and this one has no colon")
    if not _TOKEN.fullmatch(name):
        _wrong(option, "the name, before the colon, is made of letters, digits and - or _")
    value = value.strip(" \t")
    if not value.isprintable():
        _wrong(option, f"the value of {name} holds control characters, or others that no header may have")
    if name.lower() in _OURS:
        _wrong(option, f"{name} is set by the doctor itself, for each request as the check needs it")
    return name, value


def tokens_of(variables: Sequence[str]) -> tuple[str, ...]:
    """The bearer tokens that those environment variables hold."""
    if len(variables) > MOST_TOKENS:
        _wrong("--token-env", "at most twice: for a token, and for one of another principal")
    tokens = tuple(token_of(variable, "--token-env") for variable in variables)
    if len(set(tokens)) < len(tokens):
        _wrong("--token-env", "both variables hold the same token: the second one has to be another principal's")
    return tokens


def token_of(variable: str, option: str) -> str:
    """The token that an environment variable holds."""
    name = variable if _VARIABLE.fullmatch(variable) else "the variable that it names"
    token = os.environ.get(variable) if variable and "=" not in variable and "\0" not in variable else None
    if not token:
        state = "is empty" if token == "" else "is not set"
        _wrong(option, f"{name} {state}: name an environment variable that holds the token")
    if token.lower().startswith("bearer "):
        _wrong(option, f"{name} holds more than the token: leave out the word Bearer")
    if not _IN_A_HEADER.fullmatch(token):
        _wrong(option, f"{name} holds white space, a line break or other characters that no token may have")
    return token


def status_token_of(status: str | None, variable: str | None) -> str | None:
    """The token of the status page, which has none without one."""
    if status is not None:
        return token_of(variable or STATUS_TOKEN, "--status-token-env")
    if variable is not None:
        _wrong("--status-token-env", "name the status page that it is for: --status URL")
    return None


def arguments_of(text: str, tool: str | None) -> dict[str, Any]:
    """A JSON object."""
    if tool is None:
        _wrong("--arguments", "name the tool that they are for: --tool NAME")
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        _wrong("--arguments", f'this is not JSON{where}; right would be \'{{"name": "value"}}\'')
    if not isinstance(value, dict):
        _wrong("--arguments", 'a JSON object is needed, such as \'{"name": "value"}\'')
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def tool_of(text: str) -> str:
    """The name of a tool, which modern requests carry in a header."""
    if not _IN_A_HEADER.fullmatch(text):
        _wrong("--tool", f"{plain(text)!r} is not the name of a tool: letters and digits, without white space")
    return text


def then_of(text: str, tool: str | None) -> str:
    """The name of a second tool, which needs a first one."""
    if tool is None:
        _wrong("--then", "name the tool that hands out what this one takes: --tool NAME")
    return tool_of(text)


def path_of(text: str) -> str:
    """A path on the same host."""
    if not text.startswith("/") or text.startswith("//"):
        _wrong("--other-path", f"{plain(text)!r} is not a path: it begins with one /, such as /graphql")
    if not text.isprintable() or " " in text or "#" in text:
        _wrong("--other-path", f"{plain(text)!r}: a path has no white space and no #")
    return text


def seconds_of(value: float, option: str) -> float:
    """A span of time that ends."""
    if not math.isfinite(value):
        _wrong(option, f"{value} is not a number of seconds")
    return value


def quicker(plan: Plan) -> Plan:
    """The same in less than ten seconds: nothing is waited for, and there is less of everything that is counted."""
    return dataclasses.replace(
        plan,
        sessions=min(plan.sessions, _QUICK_SESSIONS),
        calls=min(plan.calls, _QUICK_CALLS),
        timeout_seconds=min(plan.timeout_seconds, _QUICK_TIMEOUT_SECONDS),
        idle_seconds=0.0,
        most_seconds=_QUICK_SECONDS,
    )


def check_together(exclusive: Mapping[str, tuple[bool, Mapping[str, bool]]]) -> None:
    """Refuse options that exclude each other.

    Args:
        exclusive: option -> whether it was given, and whether each of those was that do not go with it.
    """
    for option, (is_given, others) in exclusive.items():
        for other, is_other_given in others.items():
            if is_given and is_other_given:
                _wrong(f"{option} / {other}", "give only one of them")


def names_of(texts: Sequence[str], known: Sequence[str], option: str) -> frozenset[str]:
    """The names of checks in texts that may hold several, with commas between them."""
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        _wrong(option, f"there is no check {plain(unknown[0])!r}; there are {', '.join(known)}")
    if texts and not names:
        _wrong(option, f"name a check: {', '.join(known)}")
    return frozenset(names)
