"""What is wrong with an affinity cookie, by its attributes and by what was tried with it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mooring.doctor.evidence.cookies_seen import CookieFacts, SeenCookie
from mooring.doctor.evidence.set_cookie import Unsent
from mooring.doctor.findings import Verdict

_LEAST_SECONDS: Final = 3600.0
_LEAST_RENEWED_SECONDS: Final = 1800.0
"""Where each answer renews the cookie, it has to last as long as an idle session: 30 minutes in the SDKs."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """`says` goes on after the name of the cookie; OK where it is a remark."""

    verdict: Verdict
    says: str
    why: str


def never_back(facts: CookieFacts) -> list[Flaw]:
    """No affinity cookie is sent back to where it was set."""
    one = facts.affinity[0]
    reason = one.cookie.unsent(facts.url)
    assert reason is not None
    texts = {
        Unsent.PATH: f"its path is {one.cookie.path_at(facts.url)}",
        Unsent.DOMAIN: f"its domain is {one.cookie.domain}",
        Unsent.SECURE: "Secure over plain http",
        Unsent.EXPIRED: "its lifetime is over at once",
    }
    says = f"never comes back: {texts[reason]}"
    if facts.loses:
        why = "Calls are lost, and the cookie that could lead them to their node is sent back by no client."
        return [Flaw(Verdict.BROKEN, says, why)]
    if facts.loses is None:
        why = "Clients do not send it back. Whether affinity needs it was not tried."
        return [Flaw(Verdict.WARNING, says, why)]
    if reason is Unsent.SECURE and _is_loopback(facts.url.host or ""):
        why = "Affinity does without it here, and over https it comes back."
        return [Flaw(Verdict.OK, "does not come back over plain http, and is not needed", why)]
    why = "Clients do not send it back. Affinity does without it; then it is better not set, or set right."
    return [Flaw(Verdict.WARNING, says, why)]


def flaws_of(facts: CookieFacts, returning: Sequence[SeenCookie]) -> list[Flaw]:
    """What is wrong with those that do come back."""
    found: dict[str, Flaw] = {}
    for one in returning:
        for problem in (*_reaches_too_far(facts, one), *_is_exposed(facts, one), *_ends_early(one)):
            found.setdefault(problem.says, problem)
    return list(found.values())


def _reaches_too_far(facts: CookieFacts, one: SeenCookie) -> list[Flaw]:
    if facts.pinned:
        return [
            Flaw(
                Verdict.WARNING,
                f"also keeps {facts.other_path} on one node",
                "Without it that path is served by several nodes. A browser that has once met the MCP endpoint brings "
                "all its other requests to one node.",
            )
        ]
    path = one.cookie.path_at(facts.url)
    problems = []
    if path.rstrip("/") != (facts.url.path or "/").rstrip("/") and facts.pinned is None:
        problems.append(
            Flaw(
                Verdict.WARNING,
                f"goes along to other paths: it is for {path}",
                "A client that keeps cookies sends it with every request below that path. What the same load balancer "
                "serves there is pinned to one node, too; --other-path PATH shows it for one of them.",
            )
        )
    if one.cookie.domain is not None and one.cookie.domain != (facts.url.host or "").lower():
        problems.append(
            Flaw(
                Verdict.WARNING,
                f"goes along to all hosts of {one.cookie.domain}",
                "Another load balancer in that domain that uses the same name takes it for its own.",
            )
        )
    return problems


def _is_exposed(facts: CookieFacts, one: SeenCookie) -> list[Flaw]:
    problems = []
    if one.cookie.same_site == "none" and not one.cookie.secure:
        why = "Browsers drop a cookie that is SameSite=None and not Secure: for clients in a browser it does not exist."
        problems.append(Flaw(Verdict.WARNING, "is SameSite=None without Secure", why))
    if not one.cookie.http_only:
        why = "Without HttpOnly, scripts of any page of that host can read it, and set another."
        problems.append(Flaw(Verdict.WARNING, "is not HttpOnly", why))
    if facts.url.scheme == "https" and not one.cookie.secure:
        why = "Without Secure, it is sent in clear to the same host over http."
        problems.append(Flaw(Verdict.WARNING, "is not Secure", why))
    return problems


def _ends_early(one: SeenCookie) -> list[Flaw]:
    seconds = one.cookie.lifetime_seconds
    if seconds is None or seconds >= (_LEAST_RENEWED_SECONDS if one.renewed else _LEAST_SECONDS):
        return []
    why = (
        "A session that is idle for longer loses its node."
        if one.renewed
        else "No answer renews it, so every session that lasts longer loses its node."
    )
    return [Flaw(Verdict.WARNING, f"ends after {seconds:.0f} s", why)]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
