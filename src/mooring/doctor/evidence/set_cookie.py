"""Set-Cookie headers as clients read them, and where a client sends those cookies back (RFC 6265)."""

from __future__ import annotations

import enum
import ipaddress
import re
import time
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

from yarl import URL

from mooring.doctor.client.reply import Reply


class Unsent(enum.Enum):
    """Why a client that keeps a cookie does not send it back."""

    DOMAIN = enum.auto()
    PATH = enum.auto()
    SECURE = enum.auto()
    EXPIRED = enum.auto()


@dataclass(frozen=True, slots=True)
class SetCookie:
    """One Set-Cookie header.

    Attributes:
        path: as the header has it; None where a client takes the default, which is the directory of the request.
        domain: without its first dot; None for the host alone.
        same_site: in lower case.
        lifetime_seconds: from Max-Age, or from Expires; None for as long as the client runs.
    """

    name: str
    value: str = ""
    path: str | None = None
    domain: str | None = None
    secure: bool = False
    http_only: bool = False
    same_site: str | None = None
    lifetime_seconds: float | None = None

    def path_at(self, url: URL) -> str:
        """The path that it is for, where that URL has set it."""
        return self.path or _default_path(url.path)

    def unsent(self, target: URL, set_by: URL | None = None) -> Unsent | None:
        """Why it does not go along to `target`; None where it does (RFC 6265, sections 5.3 and 5.4)."""
        set_by = set_by or target
        if self.domain is not None and not _domain_matches(set_by.host or "", self.domain):
            return Unsent.DOMAIN
        if not _domain_matches(target.host or "", self.domain or set_by.host or ""):
            return Unsent.DOMAIN
        if self.lifetime_seconds is not None and self.lifetime_seconds <= 0:
            return Unsent.EXPIRED
        if not _path_matches(target.path, self.path_at(set_by)):
            return Unsent.PATH
        return Unsent.SECURE if self.secure and target.scheme != "https" else None


def cookies_of(reply: Reply) -> list[SetCookie]:
    """The cookies of a reply. Expires is read against the reply's own clock, if it tells it."""
    now = _moment(reply.headers.get("Date", "")) or time.time()
    parsed = (parse(line, now) for line in reply.headers.getall("Set-Cookie", []))
    return [cookie for cookie in parsed if cookie is not None]


def parse(line: str, now: float) -> SetCookie | None:
    """A Set-Cookie header, or None for one that clients ignore (RFC 6265, section 5.2). The last of equals counts."""
    pair, *rest = line.split(";")
    name, equals, value = (part.strip() for part in pair.partition("="))
    if not equals or not name:
        return None
    given = {key.strip().lower(): said.strip() for key, _, said in (part.partition("=") for part in rest)}
    path = given.get("path", "")
    return SetCookie(
        name=name,
        value=value,
        path=path if path.startswith("/") else None,
        domain=given.get("domain", "").removeprefix(".").lower() or None,
        secure="secure" in given,
        http_only="httponly" in given,
        same_site=given.get("samesite", "").lower() or None,
        lifetime_seconds=_lifetime(given, now),
    )


def _lifetime(given: dict[str, str], now: float) -> float | None:
    if re.fullmatch(r"-?[0-9]{1,18}", given.get("max-age", "")):
        return float(given["max-age"])
    until = _moment(given.get("expires", ""))
    return None if until is None else until - now


def _moment(text: str) -> float | None:
    """A date as HTTP writes them, in seconds since 1970; None for anything else."""
    try:
        parsed = parsedate_tz(text)
        return None if parsed is None else float(mktime_tz(parsed))
    except (ValueError, OverflowError):
        return None


def _default_path(request_path: str) -> str:
    """RFC 6265, section 5.1.4."""
    return request_path[: request_path.rfind("/")] or "/"


def _path_matches(request_path: str, cookie_path: str) -> bool:
    """RFC 6265, section 5.1.4."""
    request_path = request_path or "/"
    if not request_path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or request_path[len(cookie_path) :][:1] in ("", "/")


def _domain_matches(host: str, domain: str) -> bool:
    """RFC 6265, section 5.1.3."""
    host = host.lower()
    return host == domain or (host.endswith(f".{domain}") and not _is_address(host))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
