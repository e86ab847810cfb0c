from __future__ import annotations

from typing import Any

from yarl import URL

from mooring.doctor.checks import cookie
from mooring.doctor.evidence.cookies_seen import CookieFacts, SeenCookie
from mooring.doctor.evidence.set_cookie import parse
from mooring.doctor.findings import Finding, Verdict
from mooring.doctor.proxies import Proxy

HTTPS, HTTP, LOCAL = "https://example.com/mcp", "http://example.com/mcp", "http://127.0.0.1:8080/mcp"


GOOD = "lb=a; Path=/mcp; HttpOnly; SameSite=Strict"


SECURE = f"{GOOD}; Secure"


def show(text: object, longest: int) -> str:
    return str(text)[:longest]


def judged(url: str, *lines: str, loses: bool | None = False, **fields: Any) -> Finding:
    """What is said of these Set-Cookie lines; `renewed` is for all of them."""
    renewed = fields.pop("renewed", False)
    seen = []
    for line in lines:
        one = parse(line, 0.0)
        assert one is not None
        seen.append(SeenCookie(one, 2, 20, is_affinity="theme" not in line, renewed=renewed))
    return cookie.judge(CookieFacts(URL(url), tuple(seen), loses, **fields), Proxy.HAPROXY, show)


def test_a_renewed_cookie_may_be_as_short_as_an_idle_session() -> None:
    assert judged(HTTPS, f"{SECURE}; Max-Age=1800", renewed=True).verdict is Verdict.OK
    assert judged(HTTPS, f"{SECURE}; Max-Age=1800").verdict is Verdict.WARNING
    assert judged(HTTPS, f"{SECURE}; Max-Age=60", renewed=True).verdict is Verdict.WARNING


def test_what_was_tried_with_another_path_counts_for_more_than_the_attribute() -> None:
    line = "lb=a; Path=/; HttpOnly; Secure"
    told: dict[str, Any] = {"other_path": "/app", "pinned_told_by": "header X-Served-By"}
    pinned = judged(HTTPS, line, pinned=True, **told)
    assert (pinned.verdict, pinned.says) == (Verdict.WARNING, "the affinity cookie lb also keeps /app on one node")
    assert pinned.evidence["told_by"] == "header X-Served-By"
    assert judged(HTTPS, line, pinned=False, **told).verdict is Verdict.OK
    assert judged(HTTPS, line, pinned=None, **told).says.endswith("goes along to other paths: it is for /")
