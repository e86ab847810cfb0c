"""Whether the affinity cookie comes back to the MCP endpoint, and to nothing else.

The worst that fits counts:

    what is found                                                 verdict
    no cookie                                                     not run
    it never comes back, and calls are lost                       broken
    it never comes back: Secure over plain http on loopback,      ok, with the remark
    with affinity that does without it
    it never comes back otherwise                                 warning
    with it, another path is always served by one node            warning
    it goes along to other paths or hosts, which were not tried   warning
    scripts can read it, it travels in clear, browsers drop it,   warning
    or it ends before a session does
    cookies, and none of them for affinity; anything else         ok
"""

from __future__ import annotations

from typing import Any, Final

from yarl import URL

from mooring.doctor.advice import Topic, advice
from mooring.doctor.check import Check
from mooring.doctor.checks.cookie_flaws import flaws_of, never_back
from mooring.doctor.checks.spread_shares import NAME_CHARS
from mooring.doctor.evidence.affinity_cookies import owner_of
from mooring.doctor.evidence.cookies_seen import CookieFacts, SeenCookie, loses_calls, pins_path, seen_cookies
from mooring.doctor.evidence.other_path import OtherPath
from mooring.doctor.evidence.set_cookie import SetCookie
from mooring.doctor.examination import Examination
from mooring.doctor.findings import Change, Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from mooring.doctor.showing import ShowCut

NAME: Final = "cookie"
_LONGEST: Final = 90


async def run(exam: Examination) -> Finding | NotRun:
    seen = seen_cookies(exam)
    if not seen:
        return NotRun("no cookie is set")
    other = None if exam.hangs else await exam.shared(OtherPath).replies()
    names = frozenset(one.cookie.name for one in seen if one.is_affinity)
    pinned, told_by = pins_path(other, names) if other is not None else (None, "")
    path = other.path if other is not None else ""
    return judge(CookieFacts(exam.wire.url, seen, loses_calls(exam), pinned, told_by, path), exam.proxy, exam.show)


def judge(facts: CookieFacts, proxy: Proxy | None, show: ShowCut) -> Finding:
    """The verdict on the cookies that were set."""
    evidence: dict[str, Any] = {
        "cookies": [_as_json(one, facts.url, show) for one in facts.seen],
        "calls_are_lost": facts.loses,
    }
    if facts.other_path:
        path = show(facts.other_path, 200)
        evidence |= {
            "other_path": path,
            "pins_other_path": facts.pinned,
            "told_by": show(facts.pinned_told_by, NAME_CHARS),
        }
    if not facts.affinity:
        names = ", ".join(show(one.cookie.name, NAME_CHARS) for one in facts.seen)
        says = f"set are {names}; none of them looks like a load balancer's"
        return Finding(NAME, Verdict.OK, show(says, _LONGEST), evidence=evidence)
    returning = [one for one in facts.affinity if one.cookie.unsent(facts.url) is None]
    flaws = never_back(facts) if not returning else flaws_of(facts, returning)
    worst = next((flaw for flaw in flaws if flaw.verdict is not Verdict.OK), None)
    why = " ".join(flaw.why for flaw in flaws)
    subject = (returning or facts.affinity)[0].cookie
    begins = f"the affinity cookie {show(subject.name, NAME_CHARS)}"
    if worst is None:
        said = flaws[0].says if flaws else "comes back to this endpoint, and to no other path"
        return Finding(NAME, Verdict.OK, f"{begins} {said}", why, evidence)
    says = f"{begins} {' and '.join(flaw.says for flaw in flaws)}"
    if len(says) > _LONGEST:
        says = f"{begins} {worst.says}, and more"
    changes = (_change(subject, facts.url, proxy, show),)
    return Finding(NAME, worst.verdict, show(says, _LONGEST), why, evidence, changes)


def _change(cookie: SetCookie, url: URL, proxy: Proxy | None, show: ShowCut) -> Change:
    """The right attributes; Secure where clients come over https, and only there."""
    is_https = url.scheme == "https"
    return advice(
        Topic.COOKIE,
        owner_of(cookie) or proxy,
        cookie=show(cookie.name, NAME_CHARS),
        path=show(url.path or "/", 200),
        secure=" secure" if is_https else "",
        attribute="; Secure" if is_https else "",
        flag="true" if is_https else "false",
    )


def _as_json(one: SeenCookie, url: URL, show: ShowCut) -> dict[str, Any]:
    cookie = one.cookie
    owner = owner_of(cookie)
    unsent = cookie.unsent(url)
    return {
        "name": show(cookie.name, NAME_CHARS),
        "owner": str(owner) if owner is not None else None,
        "for_affinity": one.is_affinity,
        "comes_back": unsent is None,
        "withheld_for": unsent.name.lower() if unsent is not None else None,
        "path": show(cookie.path_at(url), 200),
        "domain": show(cookie.domain, NAME_CHARS) if cookie.domain is not None else None,
        "secure": cookie.secure,
        "http_only": cookie.http_only,
        "same_site": show(cookie.same_site, NAME_CHARS) if cookie.same_site is not None else None,
        "lifetime_seconds": round(cookie.lifetime_seconds) if cookie.lifetime_seconds is not None else None,
        "renewed": one.renewed,
        "value_chars": len(cookie.value),
        "sessions": one.count,
        "distinct_values": one.distinct,
    }


CHECK: Final = Check(
    NAME,
    "does the affinity cookie come back to the MCP endpoint, and to nothing else?",
    run,
    needs_sessions=True,
    is_reading=True,
    makes_calls=False,
    is_of_rules=True,
)
