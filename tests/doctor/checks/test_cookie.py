from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from yarl import URL

from mooring.doctor.checks import affinity, cookie
from mooring.doctor.evidence.cookies_seen import CookieFacts, SeenCookie
from mooring.doctor.evidence.set_cookie import parse
from mooring.doctor.findings import Finding, NotRun, Verdict
from mooring.doctor.proxies import Proxy
from tests.deployments import haproxy, traefik
from tests.deployments.servers import replica_urls
from tests.doctor.examined import examined
from tests.doctor.examples import examination
from tests.e2e.clusters import running_cluster

Deploy = Callable[[list[str]], AbstractAsyncContextManager[str]]
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


@pytest.mark.parametrize(
    ("url", "lines", "loses", "verdict", "says"),
    [
        (HTTPS, [SECURE], False, "ok", "lb comes back to this endpoint, and to no other path"),
        (HTTPS, [SECURE], True, "ok", "lb comes back to this endpoint, and to no other path"),
        (HTTP, [GOOD], True, "ok", "lb comes back to this endpoint, and to no other path"),
        (HTTPS, [f"{SECURE}; Max-Age=3600"], False, "ok", "lb comes back to this endpoint, and to no other path"),
        (HTTPS, [f"{SECURE}; Domain=example.com"], False, "ok", "lb comes back to this endpoint, and to no other path"),
        (
            "https://h/",
            ["lb=a; Path=/; HttpOnly; Secure"],
            False,
            "ok",
            "lb comes back to this endpoint, and to no other",
        ),
        # never back
        (HTTPS, ["lb=a; Path=/other"], True, "broken", "lb never comes back: its path is /other"),
        (HTTPS, ["lb=a; Path=/other"], False, "warning", "lb never comes back: its path is /other"),
        (HTTPS, ["lb=a; Path=/other"], None, "warning", "lb never comes back: its path is /other"),
        (HTTPS, ["lb=a; Domain=other.com"], True, "broken", "lb never comes back: its domain is other.com"),
        (HTTPS, ["lb=a; Max-Age=0"], True, "broken", "lb never comes back: its lifetime is over at once"),
        (HTTP, [SECURE], True, "broken", "lb never comes back: Secure over plain http"),
        (HTTP, [SECURE], False, "warning", "lb never comes back: Secure over plain http"),
        (LOCAL, [SECURE], True, "broken", "lb never comes back: Secure over plain http"),
        (LOCAL, [SECURE], False, "ok", "lb does not come back over plain http, and is not needed"),
        ("http://localhost/mcp", [SECURE], False, "ok", "lb does not come back over plain http, and is not needed"),
        ("http://[::1]/mcp", [SECURE], False, "ok", "lb does not come back over plain http, and is not needed"),
        # one of a pair is enough
        (HTTP, [GOOD, "lbcors-affinity=a; Secure"], True, "ok", "lb comes back to this endpoint, and to no other path"),
        # too far, exposed, too short
        (HTTPS, ["lb=a; Path=/; HttpOnly; Secure"], False, "warning", "lb goes along to other paths: it is for /"),
        (HTTPS, ["lb=a; HttpOnly; Secure"], False, "warning", "lb goes along to other paths: it is for /"),
        (
            "https://h/api/mcp",
            ["lb=a; Path=/api; HttpOnly; Secure"],
            False,
            "warning",
            "lb goes along to other paths: it is for /api",
        ),
        (
            "https://mcp.example.com/mcp",
            [f"{SECURE}; Domain=example.com"],
            False,
            "warning",
            "lb goes along to all hosts of example.com",
        ),
        (HTTPS, ["lb=a; Path=/mcp; Secure"], False, "warning", "lb is not HttpOnly"),
        (HTTPS, [GOOD], False, "warning", "lb is not Secure"),
        (HTTPS, ["lb=a; Path=/mcp"], False, "warning", "lb is not HttpOnly and is not Secure"),
        (
            HTTP,
            ["lb=a; Path=/mcp; HttpOnly; SameSite=None"],
            False,
            "warning",
            "lb is SameSite=None without Secure",
        ),
        (HTTPS, [f"{SECURE}; Max-Age=3599"], False, "warning", "lb ends after 3599 s"),
        (
            HTTPS,
            ["lb=a; Domain=example.com; Max-Age=60; SameSite=None"],
            False,
            "warning",
            "lb goes along to other paths: it is for /, and more",
        ),
        # no load balancer's
        (HTTPS, ["theme=dark"], True, "ok", "set are theme; none of them looks like a load balancer's"),
        (HTTPS, ["theme=dark", SECURE], True, "ok", "lb comes back to this endpoint, and to no other path"),
    ],
)
def test_what_is_said_of_attributes(
    url: str, lines: Sequence[str], loses: bool | None, verdict: str, says: str
) -> None:
    finding = judged(url, *lines, loses=loses)
    assert finding.verdict == verdict
    assert finding.says.removeprefix("the affinity cookie ").startswith(says)
    assert len(finding.says) <= 90
    assert bool(finding.changes) is (verdict != "ok")


def test_the_change_has_the_name_the_path_and_secure_over_https_alone() -> None:
    (change,) = judged(HTTPS, "lb=a; Path=/").changes
    assert 'cookie lb insert indirect nocache httponly secure attr "SameSite=Strict" attr "Path=/mcp"' in change.config
    (change,) = judged(HTTP, "lb=a; Path=/").changes
    assert 'cookie lb insert indirect nocache httponly attr "SameSite=Strict" attr "Path=/mcp"' in change.config
    (change,) = judged(HTTP, "AWSALB=a; Path=/").changes
    assert "ALB" in change.what, "the cookie's owner is better known than the proxy in front"


def test_no_value_of_a_cookie_is_told() -> None:
    finding = judged(HTTPS, "lb=the-value-of-it; Path=/", "theme=another-value")
    assert "value-of-it" not in str(finding)
    assert "another-value" not in str(finding)
    assert finding.evidence["cookies"][0]["value_chars"] == 15
    assert finding.evidence["cookies"][0]["distinct_values"] == 2


def test_a_long_name_leaves_the_line_short() -> None:
    assert len(judged(HTTPS, f"{'x' * 500}=a; Path=/{'y' * 500}", loses=True).says) <= 90


async def test_without_cookies_there_is_nothing_to_look_at() -> None:
    assert await cookie.run(examination()) == NotRun("no cookie is set")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three() -> AsyncIterator[list[str]]:
    async with replica_urls("stateful") as urls:
        yield urls


async def found(url: str, **fields: Any) -> Finding | NotRun:
    """What the check finds, after the affinity check has made its calls."""
    async with examined(url, **fields) as exam:
        await affinity.run(exam)
        return await cookie.run(exam)


def behind_haproxy(urls: list[str], *attributes: str) -> AbstractAsyncContextManager[str]:
    line = " ".join(["cookie SERVERID insert indirect nocache", *attributes])
    return haproxy.running_haproxy(urls, "balance roundrobin", line)


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("deploy", "verdict", "says"),
    [
        (haproxy.sticky_cookie, "warning", "SERVERID goes along to other paths: it is for / and is not HttpOnly"),
        (haproxy.learned_session_id, None, "no cookie is set"),
        (traefik.sticky_cookie, "warning", "_7d571 goes along to other paths: it is for / and is not HttpOnly"),
        (traefik.cookie_elsewhere, "broken", "affinity never comes back: its path is /other"),
    ],
)
async def test_real_load_balancers(three: list[str], deploy: Deploy, verdict: str | None, says: str) -> None:
    async with deploy(three) as url:
        finding = await found(url)
    if isinstance(finding, NotRun):
        assert (verdict, finding.why) == (None, says)
    else:
        assert (finding.verdict, finding.says) == (verdict, f"the affinity cookie {says}")
        assert finding.evidence["cookies"][0]["distinct_values"] == 3


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("attributes", "verdict", "says"),
    [
        (["httponly", 'attr "Path=/mcp"'], "ok", "SERVERID comes back to this endpoint, and to no other path"),
        (["httponly", "secure", 'attr "Path=/mcp"'], "broken", "SERVERID never comes back: Secure over plain http"),
        (["httponly", "domain other.com"], "broken", "SERVERID never comes back: its domain is other.com"),
        (["httponly", 'attr "Path=/mcp"', 'attr "Max-Age=600"'], "warning", "SERVERID ends after 600 s"),
    ],
)
async def test_attributes_of_a_real_cookie(three: list[str], attributes: list[str], verdict: str, says: str) -> None:
    async with behind_haproxy(three, *attributes) as base:
        finding = await found(f"{base}/mcp")
    assert isinstance(finding, Finding)
    assert (finding.verdict, finding.says) == (verdict, f"the affinity cookie {says}")


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("deploy", "told_by"),
    [
        (haproxy.sticky_cookie, "with the cookie, no other one is given"),
        (partial(haproxy.sticky_cookie, tell_node=True), "header X-Served-By"),
        (traefik.sticky_cookie, "with the cookie, no other one is given"),
    ],
)
async def test_a_real_cookie_that_pins_another_path(three: list[str], deploy: Deploy, told_by: str) -> None:
    async with deploy(three) as url:
        finding = await found(url, other_path="/app")
    assert isinstance(finding, Finding)
    assert finding.verdict is Verdict.WARNING
    assert "also keeps /app on one node" in finding.says
    assert finding.evidence["told_by"] == told_by


@pytest.mark.real
@pytest.mark.asyncio(loop_scope="module")
async def test_a_real_cookie_that_pins_nothing_else(three: list[str]) -> None:
    async with behind_haproxy(three, "httponly", 'attr "Path=/mcp"') as base:
        finding = await found(f"{base}/mcp", other_path="app")
    assert isinstance(finding, Finding)
    assert finding.verdict is Verdict.OK
    assert finding.evidence["other_path"] == "/app"
    assert finding.evidence["pins_other_path"] is False


@pytest.mark.real
@pytest.mark.parametrize("flags", [[], ["--insecure-cookies"]])
async def test_the_cookie_of_mooring_itself(flags: list[str]) -> None:
    with running_cluster("v2", *flags) as cluster:
        finding = await found(cluster.url, other_path="/app")
    assert isinstance(finding, Finding)
    assert finding.verdict is Verdict.OK
    said = "comes back to this endpoint" if flags else "does not come back over plain http, and is not needed"
    assert said in finding.says
