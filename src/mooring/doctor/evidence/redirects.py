"""Where a redirect leads, compared with the URL that was typed, and what it has lost on the way.

A server that redirects makes the target of what it takes for its own scheme, host, port and path. Where a proxy in
front does not pass these on, the target has the inner ones.

    target                                        what was lost
    the same but for a slash                      nothing
    https became http                             the scheme
    another port on the same host                 the port
    a name or an address that is of no use to     the host
    clients
    the path without its beginning                the prefix
    another path of the same origin               nothing: it is elsewhere
    any other origin                              it leads away
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from yarl import URL


class Lost(enum.StrEnum):
    """What a redirect's target lacks."""

    SCHEME = "scheme"
    PORT = "port"
    HOST = "host"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Redirect:
    """
    Attributes:
        target: as the answer has it; None where it has none that can be read.
        lost: what was lost; nothing where the target may be meant.
        repaired: the same target at the origin that was typed, and with the prefix; None where it leads away.
    """

    target: URL | None
    lost: tuple[Lost, ...] = ()
    repaired: URL | None = None

    def differs_by_slash(self, typed: URL) -> bool:
        return self.repaired is not None and self.repaired.path.rstrip("/") == typed.path.rstrip("/")


def redirect_of(typed: URL, location: str) -> Redirect:
    """What is to be said of a Location, for a request to that URL."""
    try:
        target = typed.join(URL(location)) if location else None
        has_host = target is not None and bool(target.host)  # a name that cannot be decoded is found out here
    except ValueError:
        target, has_host = None, False
    if target is None or not has_host:
        return Redirect(target)
    lost = list[Lost]()
    path = target.path
    if _lost_prefix(typed.path, path):
        lost.append(Lost.PREFIX)
        path = typed.path.rstrip("/") + ("/" if target.path.endswith("/") else "")
    if not same_origin(target, typed):
        lost += _lost_of_origin(typed, target, is_same_path=path.rstrip("/") == typed.path.rstrip("/"))
        if not set(lost) & {Lost.SCHEME, Lost.PORT, Lost.HOST}:
            return Redirect(target)
    repaired = typed.with_path(path).with_query(target.query)
    return Redirect(target, tuple(lost), None if repaired == typed else repaired)


def same_origin(one: URL, other: URL) -> bool:
    """`https://host:443` is `https://host` (RFC 6454, section 4), which a comparison of `URL.origin` does not see."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _lost_prefix(typed: str, target: str) -> bool:
    """`/api/mcp` became `/mcp/`."""
    short = target.rstrip("/")
    return bool(short) and short != typed.rstrip("/") and typed.rstrip("/").endswith(short)


def _lost_of_origin(typed: URL, target: URL, *, is_same_path: bool) -> list[Lost]:
    if target.host == typed.host:
        if typed.scheme == "https" and target.scheme == "http":
            is_port = typed.port != 443 and target.port != typed.port
            return [Lost.SCHEME, *([Lost.PORT] if is_port else [])]
        return [Lost.PORT] if typed.scheme == target.scheme else []
    if is_same_path and is_inner(target.host or "") and not is_inner(typed.host or ""):
        return [Lost.HOST]
    # Between addresses of one machine, a name without a dot or another address is the inner one as well.
    return [Lost.HOST] if is_same_path and "." not in (target.host or "") else []


def is_inner(host: str) -> bool:
    """Whether that host means nothing to clients elsewhere: a private address, or a name without a domain."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".svc", ".localhost"))
